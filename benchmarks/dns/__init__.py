"""Measure the name server and the resolver against the field's own."""

"""Measurements; each prints a ratio against a named peer of the same run."""

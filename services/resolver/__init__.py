"""A caching resolver that walks the name space from the root down."""

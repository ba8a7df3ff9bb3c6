"""The server that keeps a site's mail and lets its users read it."""

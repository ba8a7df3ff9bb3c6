"""Requests of the server's own to other servers."""

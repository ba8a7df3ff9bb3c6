"""Sieve (RFC 5228): what a user wants to be done with mail that comes in."""

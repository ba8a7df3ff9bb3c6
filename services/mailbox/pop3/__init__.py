"""POP3 (RFC 1939): how simple clients fetch mail."""

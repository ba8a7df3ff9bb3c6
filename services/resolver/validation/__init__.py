"""Tell genuine data from forged by signatures (RFC 4033 to 4035), without a socket."""

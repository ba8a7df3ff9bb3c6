"""From octets to commands: how IMAP is written (RFC 3501 section 9), without I/O."""

"""IMAP4rev1 (RFC 3501) and what clients have learnt to expect beside it."""

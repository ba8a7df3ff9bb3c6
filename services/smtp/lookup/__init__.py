"""Ask the site's resolver for names: a stub resolver (RFC 1123 section 6.1.3.1)."""

"""LMTP (RFC 2033): how the site's mail servers hand over what is for its users."""

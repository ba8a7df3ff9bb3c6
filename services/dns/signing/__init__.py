"""Sign zones (RFC 4033 to 4035, RFC 5155): pure, with clock and chance handed in."""

"""Tell whether a host may send for a domain: Sender Policy Framework (RFC 7208)."""

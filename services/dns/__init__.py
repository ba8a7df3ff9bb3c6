"""Root, top-level and organisations' name servers: authoritative answers."""

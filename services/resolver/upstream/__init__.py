"""The side towards other name servers: one query, one reply."""

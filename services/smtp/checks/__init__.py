"""Judge what comes from outside, and sign what goes out."""

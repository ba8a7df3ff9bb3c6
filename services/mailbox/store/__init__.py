"""Where messages are kept: Maildirs, with an index of UIDs, keywords and dates."""

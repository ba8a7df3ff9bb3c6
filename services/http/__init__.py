"""A web server for the static pages of a site."""

"""A study's finding as one page, and the page that lists all studies."""

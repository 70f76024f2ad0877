"""A query becomes ranked photos."""

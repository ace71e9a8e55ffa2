"""Dynamic symbols, their versions and hash tables."""

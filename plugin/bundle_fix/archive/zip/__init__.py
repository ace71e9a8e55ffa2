"""Zip archives and wheels: central directory, member data, reading and writing."""

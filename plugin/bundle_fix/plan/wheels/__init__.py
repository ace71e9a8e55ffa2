"""Wheels: the platform policies and tags, and names of their own for bundled libraries."""

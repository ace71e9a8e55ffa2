"""Entry points that other build tools call."""

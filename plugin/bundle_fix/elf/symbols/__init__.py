"""Readers of dynamic symbols, their versions and their hash tables."""

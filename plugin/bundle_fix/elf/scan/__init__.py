"""Searches in the contents of ELF files: build paths, allocators, debug information."""

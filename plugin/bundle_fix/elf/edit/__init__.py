"""Editing ELF files: requested changes, the editors, and a pool of editing processes."""

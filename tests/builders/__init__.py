"""Builders of what the tests need: real ELF files and real packs, made on the spot."""

"""Tests of reading and editing ELF files."""

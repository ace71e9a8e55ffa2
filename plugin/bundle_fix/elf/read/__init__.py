"""Readers of ELF files: headers, segments, sections, dynamic section, notes."""

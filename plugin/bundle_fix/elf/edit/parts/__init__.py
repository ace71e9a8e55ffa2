"""Edits of the parts of an ELF file beside its dynamic section and its string table."""

"""ELF files: what the loader reads of them, and edits that do no harm."""

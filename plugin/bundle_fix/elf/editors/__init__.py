"""The editors of ELF files, one module each."""

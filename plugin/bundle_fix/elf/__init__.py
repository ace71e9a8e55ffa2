"""ELF files: readers, editors of the dynamic section, and the verifier of their results."""

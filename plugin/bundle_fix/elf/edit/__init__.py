"""Editors of the dynamic section of ELF files, and a pool of processes that run them."""

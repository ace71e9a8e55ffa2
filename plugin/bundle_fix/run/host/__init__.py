"""The decoy host: its files and its ld.so.cache."""

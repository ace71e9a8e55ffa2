"""Verification of edited ELF files, independent of the editors."""

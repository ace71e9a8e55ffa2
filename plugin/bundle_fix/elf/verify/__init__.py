"""Verifiers of edited ELF files, which share no code with the editors."""

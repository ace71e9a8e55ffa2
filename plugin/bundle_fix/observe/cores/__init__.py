"""Core files: the memory and the notes of processes that have ended."""

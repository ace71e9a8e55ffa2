"""The run pipeline: build a host, run a program of a pack on it, observe it."""

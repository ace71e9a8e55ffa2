"""Benchmarks: ratios of our times and those of common tools, on the same files in one run."""

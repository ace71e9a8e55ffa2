"""Benchmarks: ratios against the tools that users know, on the same files, in one run."""

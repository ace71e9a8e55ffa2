"""Comparison of two artifacts: changes, regressions and improvements."""

"""The HTML report: one file without scripts that any browser shows."""

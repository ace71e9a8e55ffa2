"""Data that all packages share: trees, file contents, errors, progress."""

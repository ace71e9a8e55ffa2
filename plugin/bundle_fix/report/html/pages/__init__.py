"""Documents: one module for each command."""

"""Target hosts: what the loader finds outside of the pack."""

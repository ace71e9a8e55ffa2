"""Target hosts: the files, loaders and caches outside the pack."""

"""The manifest: the list of files inside a pack."""

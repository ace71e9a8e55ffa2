"""Debug information: removed from a pack, or split off into a pack of its own."""

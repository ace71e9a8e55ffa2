"""Debug information: dropped from a pack, or split off into one of its own."""

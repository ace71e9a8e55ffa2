"""A program of a pack, run on a decoy host and observed."""

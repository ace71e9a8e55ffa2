"""Collection of the files that a spec names on this machine into a tree."""

"""The library search of one needed name: order of directories, candidates, path tokens."""

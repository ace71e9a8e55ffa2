"""Tar archives: headers, sparse members, reading and writing."""

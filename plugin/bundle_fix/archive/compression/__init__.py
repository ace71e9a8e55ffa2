"""Compression formats: codecs, parallel xz blocks, bounded readers of concatenated streams."""

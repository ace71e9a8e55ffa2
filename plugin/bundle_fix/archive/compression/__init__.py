"""Compression formats: codecs, framing, bounded readers of concatenated streams."""

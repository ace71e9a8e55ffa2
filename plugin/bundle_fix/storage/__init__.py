"""Files on disk: atomic outputs, scratch directories, in-place changes, digests."""

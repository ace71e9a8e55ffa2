"""``make release``: builds the files of a release, checks them, and puts all of them into dist/."""

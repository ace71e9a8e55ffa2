"""Names of members that bundle-fix itself adds to a pack."""

MANIFEST_NAME = "bundle-manifest.json"
"""The manifest, in the root of a pack."""

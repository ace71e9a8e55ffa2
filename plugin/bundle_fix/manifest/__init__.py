"""The list of what is in a pack, which lies in the pack itself."""

"""The steps of the commands pack, fix, check and fix-tree."""

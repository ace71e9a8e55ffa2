"""The first spec of an existing tree, an install tree or a pack, for `bundle-fix init`."""

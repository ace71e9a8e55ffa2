"""A first spec for what is there already: a build's install tree, or a pack."""

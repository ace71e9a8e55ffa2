"""Wheels that are repaired: the best platform for their contents, and the repair itself."""

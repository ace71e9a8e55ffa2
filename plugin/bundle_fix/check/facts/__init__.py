"""Facts about a bundle that several rules use, computed once."""

"""Two artifacts compared: what changed, and what got worse."""

"""The state of a file after the requested changes, as the verifier computes it."""

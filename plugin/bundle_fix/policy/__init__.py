"""The policy of a check: expectations, accepted findings, and the files that configure them."""

"""Libraries of the build machine: resolving needed names and completing the closure."""

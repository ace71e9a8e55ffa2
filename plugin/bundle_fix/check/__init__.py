"""The checks: rules over a bundle and its processes, and the findings that they make."""

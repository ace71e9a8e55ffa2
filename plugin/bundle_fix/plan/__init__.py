"""The plan: what must change in an artifact so that it runs the libraries it ships."""

"""Renderers of reports, one module per format."""

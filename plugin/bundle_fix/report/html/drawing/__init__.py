"""Drawings in the HTML report, as inline SVG."""

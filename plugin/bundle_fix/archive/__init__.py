"""Artifacts on disk: format detection, reading into trees, writing trees."""

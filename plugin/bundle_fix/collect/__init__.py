"""Collects what a spec names on this machine into a tree."""

"""Parsing of bundle.toml: loading, conversion, source positions, problems."""

"""The spec (`bundle.toml`): its schema, how it is read, and the values of its variables."""

"""Names of libraries: new ones, and those that something may ask for."""

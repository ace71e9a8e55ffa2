"""Plans: the changes that make an artifact load the libraries that it contains."""

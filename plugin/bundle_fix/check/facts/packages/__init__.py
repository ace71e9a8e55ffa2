"""What the packages of an artifact say: their dependencies and the imports of Python packages."""

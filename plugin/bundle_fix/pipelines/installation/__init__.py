"""Parts of the install pipeline: the private directory, and the components of a project."""

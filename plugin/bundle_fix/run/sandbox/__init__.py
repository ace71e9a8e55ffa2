"""The sandbox: a root directory, mounts and namespaces of its own for a program."""

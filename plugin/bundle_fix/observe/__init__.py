"""What a process or a core file has loaded, and how that compares with a pack."""

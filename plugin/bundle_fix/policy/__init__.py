"""What a check expects and forbids, and where that is configured."""

"""The editors that change the dynamic string table and nothing else that is loaded."""

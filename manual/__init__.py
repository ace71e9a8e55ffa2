"""The generator of the man pages and of docs/commands.md; it is not a part of the wheel."""

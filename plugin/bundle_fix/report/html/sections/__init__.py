"""The parts of a document."""

"""The objects of a process compared with a pack, and with the model of the loader."""

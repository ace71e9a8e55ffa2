"""The data that drawings show: graphs of loaded objects, and the sizes of files."""

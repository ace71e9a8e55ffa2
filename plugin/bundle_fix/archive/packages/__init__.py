"""Formats that are only read: deb, rpm, OCI and Docker images, archives inside archives."""

"""Records of a run: of the loader, of the kernel and of strace."""

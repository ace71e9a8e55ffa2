# The script comes from the installed program, so that the two always fit each other.
bundle-fix completion fish | source

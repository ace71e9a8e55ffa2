"""The dynamic loader, modelled: which file each needed name leads to, and why."""

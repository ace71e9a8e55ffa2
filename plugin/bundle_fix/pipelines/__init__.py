"""What the commands do, step by step: pack, fix, check, install."""

"""One training run, from its first collection to its last file."""

"""Episodes that a command plays, alone or with worker processes."""

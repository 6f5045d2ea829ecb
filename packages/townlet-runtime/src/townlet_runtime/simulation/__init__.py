"""What the runtime asks of a world, and whether a world keeps it."""

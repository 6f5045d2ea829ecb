"""Run directories: their files, the records in them, and how they are read."""

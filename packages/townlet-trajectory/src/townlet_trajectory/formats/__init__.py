"""File formats: how each is opened, and converted to any other."""

"""A network as a policy file."""

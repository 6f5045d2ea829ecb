"""Spaces of Gymnasium, and the answers of its environments, as arrays."""

"""Policies: what acts for a whole batch of agents, and how one is loaded from a file without torch."""

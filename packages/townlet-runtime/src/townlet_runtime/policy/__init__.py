"""Policies over whole batches of agents, and policy files, loaded without torch."""

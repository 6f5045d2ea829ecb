"""Agents that a person or a program has taken over: leases, inputs, and the way back."""

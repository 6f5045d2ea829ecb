"""The policy layer of a multi-agent simulation: possess, blend, record, act without torch."""

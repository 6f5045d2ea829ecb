"""Recorded data in memory: schema, trajectories, batches and their statistics."""

"""Runs that follow a schedule: stages of cloning and PPO, on records, rollouts, or both."""

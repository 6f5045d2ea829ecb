"""Minds that take longer than a tick: questions, their answers, the log of these, and the controller that asks."""

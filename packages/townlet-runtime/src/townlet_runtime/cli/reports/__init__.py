"""Summaries, checks and pictures of logs, and the watching of one that grows: `townlet report`, `townlet watch`."""

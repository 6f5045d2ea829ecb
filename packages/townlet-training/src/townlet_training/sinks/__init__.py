"""Sinks: places beside the log that the metrics of a run are written to, found by name."""

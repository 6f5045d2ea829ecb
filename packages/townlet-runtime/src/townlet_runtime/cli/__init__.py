"""The `townlet` command."""

from townlet_runtime.cli.app import app, main

__all__ = ["app", "main"]

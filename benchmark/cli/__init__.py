"""The command line: parses, calls, prints; it decides nothing."""

from benchmark.cli.main import main

__all__ = ["main"]

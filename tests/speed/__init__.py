"""Speed benchmarks: ratios from one run, never asserted; `python -m tests.speed`."""

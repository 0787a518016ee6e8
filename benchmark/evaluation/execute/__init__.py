"""Execution: the jobs of a plan run in shards, kept, and put together to an entry."""

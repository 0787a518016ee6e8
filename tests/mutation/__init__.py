"""Mutation testing of what decides or derives a number: `python -m tests.mutation`."""

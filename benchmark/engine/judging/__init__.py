"""Judging: candidates chosen on draws of one role, and scored on those of another."""

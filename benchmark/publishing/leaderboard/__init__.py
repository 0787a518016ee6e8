"""Leaderboards: entries ranked, compared and printed; no torch."""

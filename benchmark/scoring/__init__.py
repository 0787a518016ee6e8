"""Scoring: from results to an entry by pure functions, by which validation recomputes it; no torch."""

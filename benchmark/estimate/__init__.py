"""Estimates: what a run will cost, before it is begun."""

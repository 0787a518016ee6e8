"""Attacking: the interface of attacks, and what they have in common."""

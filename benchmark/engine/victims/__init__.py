"""Victims."""

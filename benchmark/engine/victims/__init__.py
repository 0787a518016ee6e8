"""Victims: classifiers, purifiers before them, and trees of both."""

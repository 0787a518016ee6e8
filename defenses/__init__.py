"""A shelf of purifiers: one file or folder each, siblings that do not know each other."""

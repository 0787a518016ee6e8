"""A shelf of attacks: one file each, siblings that do not know each other."""

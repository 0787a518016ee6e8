"""Purifiers that hide what they do, innocently or not, each with what an attack by hand leaves of it."""

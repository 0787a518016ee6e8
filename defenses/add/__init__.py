"""ADD-Defense (Zhou et al., 2020): an encoder whose features do not tell attacks apart, and a generator."""

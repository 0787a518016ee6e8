"""How code runs: in which process, memory and arithmetic; other people's code imported and contained."""

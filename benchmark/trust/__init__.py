"""Trust: what a plugin declares is checked, and the attacks of this installation are shown to attack."""

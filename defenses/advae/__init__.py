"""AdvAE: an auto-encoder trained adversarially in front of a frozen classifier."""

"""Training: a recipe's steps on a dataset, resumable, to a weights file."""

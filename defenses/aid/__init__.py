"""AID-Purifier (Hwang et al., 2021): a discriminator on a classifier's features, which purification ascends."""

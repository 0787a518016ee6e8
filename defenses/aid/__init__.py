"""AID-Purifier (Hwang et al., 2021): a discriminator on a classifier's features, ascended to purify an image."""

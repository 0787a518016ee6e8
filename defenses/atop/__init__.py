"""AToP (Lin et al., ICLR 2024): random transforms, and a generator that mends them, trained adversarially."""

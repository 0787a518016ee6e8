"""Running: from a request to results, what is not done yet."""

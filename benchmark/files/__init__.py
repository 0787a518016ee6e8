"""Files: written whole, read without trust, downloaded and checked."""

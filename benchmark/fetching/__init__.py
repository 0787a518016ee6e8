"""Fetching: files that come from elsewhere, whole and checked, or one line that says how to get them."""

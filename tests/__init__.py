"""The tests, and the toys they share."""

"""Publishing: from entries to tables and pages; without torch."""

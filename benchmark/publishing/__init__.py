"""Publishing: from results to entries, tables and pages; without torch."""

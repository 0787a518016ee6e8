"""The datasets of this project, one file for each source of files."""

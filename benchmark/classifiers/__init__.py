"""Where classifiers come from: small ones of this project, files, installed packages, the RobustBench zoo."""

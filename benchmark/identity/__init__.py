"""Identities: what decides a result, as a job's key sees it: source, distributions, files, objects."""

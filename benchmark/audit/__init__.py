"""Audits: a published entry's victim asked again about its images, and attacked anew."""

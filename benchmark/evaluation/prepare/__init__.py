"""Preparation: from what a user asks for to a victim, images and a plan of jobs."""

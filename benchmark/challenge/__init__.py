"""Challenges: adversarial images from outside, read without trust and judged as the harness judges its own."""

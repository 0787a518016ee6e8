"""The static site: pages made from entries, whole or not at all; no server, no network, no torch."""

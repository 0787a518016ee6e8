"""The contract: what a defense or a classifier declares, checked and measured."""

"""The engine: what decides a result; images, threats, draws and criteria, which its parts share."""

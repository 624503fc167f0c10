"""The two sides of a gate: their trees, their Pythons, and where their modules come from."""

"""What gates remember together: a chain of paired ratios over the commits, and its changes."""

"""What a gate found as a table, markdown or JSON."""

"""From pairs to verdicts: the sequential plan, the bounds, failures, and the instrument."""

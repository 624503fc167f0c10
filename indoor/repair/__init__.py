"""int8 that keeps what float32 knows: candidates tried in order of their cost, and judged."""

"""Two versions of the code, side by side, to one verdict."""

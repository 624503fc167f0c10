"""Files fetched over http(s)."""

from indoor.download.fetching import NUM_DIGITS, fetch

__all__ = ["NUM_DIGITS", "fetch"]

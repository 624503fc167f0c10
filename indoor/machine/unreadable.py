"""The word for a property that this machine does not show."""


class UnreadableError(Exception):
    """A property cannot be read here; the message is the reason that the record keeps."""

"""Which compiled packages this user made on this machine: loading one executes what is in it."""

import hashlib
import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

import platformdirs

from indoor.errors import IndoorError

_NUM_BYTES = 32


def sign(data: bytes) -> str:
    """Return what tells data of this user on this machine from everybody else's.

    Raises:
        IndoorError: The secret that it takes can be neither read nor made.
    """
    path = secret_path()
    secret = _read(path)
    if secret is None:
        _make(path)
        secret = _read(path)
        assert secret is not None, f"{path} was made a moment ago"
    return hmac.new(secret, data, hashlib.sha256).hexdigest()


def is_ours(data: bytes, signature: str | None) -> bool:
    """Tell whether `sign` gave that signature here.

    Raises:
        IndoorError: The secret cannot be read, or others may read it.
    """
    secret = _read(secret_path())
    if secret is None or signature is None:
        return False
    return hmac.compare_digest(hmac.new(secret, data, hashlib.sha256).hexdigest(), signature)


def secret_path() -> Path:
    """Return the file of the secret, which no one but this user may read."""
    return platformdirs.user_state_path("indoor") / "artefacts.key"


def _read(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            about, data = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    if about.st_mode & 0o077 or about.st_uid != os.getuid():
        raise _unusable(path, "others own it or may read it")
    if len(data) != _NUM_BYTES:
        raise _unusable(path, f"it holds {len(data)} bytes")
    return data


def _make(path: Path) -> None:
    """Write the file whole, or leave another process's, which was quicker."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)  # of mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_NUM_BYTES))
            with suppress(FileExistsError):
                os.link(name, path)
        finally:
            Path(name).unlink()
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error


def _unusable(path: Path, why: str) -> IndoorError:
    return IndoorError(
        f"{path}, which tells packages compiled here from others, cannot be used: {why}; expected "
        f"{_NUM_BYTES} bytes that you alone may read; remove it (packages are compiled again), or "
        "set XDG_STATE_HOME to a folder of your own"
    )

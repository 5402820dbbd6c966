"""User and password of a mirror: they reach neither logs, files nor command lines, but travel in the environment."""

import os
from urllib.parse import quote, unquote, urlsplit

from pipeline.runtime.errors import PipelineError

Credentials = tuple[str, str]
VARIABLE = "PIPELINE_{files}_LOGIN"


def split_credentials(url: str) -> tuple[str, Credentials | None]:
    """An address without user and password, and the two.

    Raises:
        PipelineError: not an address; the message shows neither.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise PipelineError(f"{url.rpartition('@')[2]}: not an address ({error}); correct archives.base_url") from None
    if "@" not in parts.netloc:
        return url, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, (unquote(parts.username or ""), unquote(parts.password or ""))


def hide_credentials(url: str | None, files: str) -> str | None:
    """``url`` for a command line; its user and password go into the environment, under the name of ``files``."""
    if url is None:
        return None
    bare, credentials = split_credentials(url)
    if credentials:
        os.environ[VARIABLE.format(files=files.upper())] = ":".join(quote(part, safe="") for part in credentials)
    return bare


def hidden_credentials(url: str | None, files: str) -> str | None:
    """``url`` with what :func:`hide_credentials` has put into the environment."""
    login = os.environ.get(VARIABLE.format(files=files.upper()))
    return url.replace("://", f"://{login}@", 1) if url and login else url

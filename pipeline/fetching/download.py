"""Download one file with pooch: resumed after a broken connection, retried with back-off, checked before it is used."""

import errno
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pooch
import requests
import urllib3
from tqdm import tqdm

from pipeline.data.sniff import ARCHIVES, kind_of_file
from pipeline.fetching.credentials import Credentials
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.progress import LOG_INTERVAL_SECONDS, log

CHUNK = 2**18
TIMEOUT_SECONDS = 30.0
ATTEMPTS = 6
"""Attempts in a row that bring nothing new before a download is given up."""
FIRST_WAIT_SECONDS = 1.0
"""Wait before the second attempt; doubled each time."""
LONGEST_WAIT_SECONDS = 60.0
MAX_BYTES = 16 * 2**30
"""Ceiling of a download; the largest archive of the five datasets has less than 1 GiB."""
RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)

# Another attempt would end the same: redirects without end, to file:// (a ValueError, as all addresses that cannot be
# used), or contradicting headers.
FINAL = (requests.TooManyRedirects, ValueError, urllib3.exceptions.InvalidHeader)

Check = Callable[[Path], None]


class _Interrupted(Exception):
    """A failure that may pass: the next attempt goes on where this one stopped."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class NotFound(PipelineError):
    """The server has no such file."""


class WrongChecksum(PipelineError):
    """The file is complete and not the one whose checksum is known."""


def first_line(error: BaseException) -> str:
    """Class and first line of the exception at the root of ``error``."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _reason(error: Exception) -> str:
    # urllib3 gives a sentence and the exception beneath it; the sentence is enough.
    return str(error.args[0]) if error.args else type(error).__name__


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _no_space(path: Path, error: OSError) -> PipelineError:
    free = shutil.disk_usage(path.parent).free
    return PipelineError(
        f"{path.parent}: the disk is full ({_mebibytes(free)} free; {error.strerror}); make room and run again: "
        "the download goes on where it stopped"
    )


class ResumingDownloader:
    """A pooch downloader that keeps what it has in ``partial`` until it is complete and ``check`` passes.

    Beside ``partial`` lies a JSON file with the address and the server's ETag or date, so that parts of two versions of
    a file are never joined.

    Args:
        partial: where incomplete bytes are kept between attempts and between runs.
        check: raises PipelineError if the complete file is not what was asked for.
        auth: user and password for the server.
        limit: most bytes that the file may have.
    """

    def __init__(self, partial: Path, check: Check, auth: Credentials | None = None, limit: int = MAX_BYTES):
        self._partial = partial
        self._check = check
        self._auth = auth
        self._limit = limit
        self._note = partial.with_name(partial.name + ".json")

    def __call__(self, url: str, output_file: str, _pooch: pooch.Pooch | None, check_only: bool = False) -> None:
        log(f"downloading {url}")
        self._partial.parent.mkdir(parents=True, exist_ok=True)
        if self._read_note().get("url") != url:
            self._discard()
        fruitless = 0
        while True:
            before = self._have()
            try:
                self._attempt(url)
                break
            except FINAL as error:
                raise PipelineError(
                    f"{url}: cannot be downloaded ({_reason(error)}); check the address, or put the file into "
                    "archives.folder"
                ) from None
            except (_Interrupted, requests.RequestException, urllib3.exceptions.HTTPError) as error:
                fruitless = 1 if self._have() > before else fruitless + 1
                if fruitless >= ATTEMPTS:
                    raise PipelineError(
                        f"{url}: the download broke off after {_mebibytes(self._have())} and {ATTEMPTS} attempts "
                        f"brought nothing more ({_reason(error)}); run again to go on from there, or put the file into "
                        "archives.folder yourself"
                    ) from None
                wait = getattr(error, "wait", None) or FIRST_WAIT_SECONDS * 2 ** (fruitless - 1)
                wait = min(wait, LONGEST_WAIT_SECONDS)
                log(
                    f"{self._partial.name}: {_reason(error)}; again in {wait:.0f} s, from {_mebibytes(self._have())} on"
                )
                time.sleep(wait)
        try:
            self._check(self._partial)
        except PipelineError:
            self._discard()
            raise
        self._note.unlink(missing_ok=True)
        shutil.move(self._partial, output_file)

    def _have(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _read_note(self) -> dict:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) else {}

    def _attempt(self, url: str) -> None:
        have, validator = self._have(), self._read_note().get("validator")
        if have and not validator:
            # Nothing tells whether the rest would belong to the same file.
            self._discard()
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": validator}
        options = {"stream": True, "timeout": TIMEOUT_SECONDS, "headers": headers, "auth": self._auth}
        with requests.get(url, **options) as response:
            if response.status_code == 416:
                self._discard()
                raise _Interrupted("the server's file is shorter than the part that is here")
            _check_answer(url, response)
            resumed = response.status_code == 206
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self._discard()
                raise _Interrupted("the server sent another part than the one asked for")
            start = have if resumed else 0
            length = response.headers.get("Content-Length")
            if length is not None and not (length.isascii() and length.isdigit()):
                raise PipelineError(f"{url}: the server gives no sensible size (Content-Length: {length[:40]!r})")
            total = start + int(length) if length is not None else None
            self._check_size(url, total or 0)
            # A weak ETag promises the same meaning, not the same bytes.
            etag = response.headers.get("ETag", "")
            strong = etag if etag and not etag.startswith("W/") else None
            note = {"url": url, "validator": strong or response.headers.get("Last-Modified")}
            self._note.write_text(json.dumps(note), encoding="utf-8")
            self._receive(url, response, start, total)
        if total is not None and self._have() < total:
            raise _Interrupted(f"the connection ended after {self._have()} of {total} bytes")

    def _check_size(self, url: str, size: int) -> None:
        if size > self._limit:
            self._discard()
            raise PipelineError(
                f"{url}: {_mebibytes(size)} or more where at most {_mebibytes(self._limit)} are expected; check the "
                "address"
            )

    def _receive(self, url: str, response: requests.Response, start: int, total: int | None) -> None:
        if total is not None:
            free = shutil.disk_usage(self._partial.parent).free
            if free < total - start:
                raise OSError(errno.ENOSPC, f"{_mebibytes(total - start)} are still to come")
        told = time.monotonic()
        bar = tqdm(
            desc=self._partial.name, total=total, initial=start, unit="B", unit_scale=True,
            disable=not sys.stderr.isatty(), leave=False,
        )  # fmt: skip
        have = start
        with bar, self._partial.open("ab" if start else "wb") as file:
            # read1 gives what has arrived; a read of whole chunks would lose the last one when the connection breaks.
            while chunk := response.raw.read1(CHUNK, decode_content=False):
                have += len(chunk)
                self._check_size(url, have)
                file.write(chunk)
                bar.update(len(chunk))
                if bar.disable and time.monotonic() - told > LOG_INTERVAL_SECONDS:
                    told = time.monotonic()
                    of = f" of {_mebibytes(total)}" if total else ""
                    log(f"{self._partial.name}: {_mebibytes(have)}{of}")


def _check_answer(url: str, response: requests.Response) -> None:
    """Refuse an answer that is not the file.

    Raises:
        _Interrupted: it may be another time.
        PipelineError: it will not be; says why.
    """
    status = response.status_code
    if status in RETRIED_STATUS:
        after = response.headers.get("Retry-After", "")
        raise _Interrupted(f"HTTP {status} from the server", float(after) if after.isdigit() else None)
    if status in (404, 410):
        raise NotFound(
            f"{url}: not there (HTTP {status}); it may have moved: download the file by hand and put it into "
            "archives.folder, or name a mirror in archives.base_url"
        )
    by_hand = "download the file with a browser and put it into archives.folder"
    if status in (401, 403):
        raise PipelineError(f"{url}: access refused (HTTP {status}); {by_hand}")
    if status >= 400:
        raise PipelineError(f"{url}: HTTP {status} from the server; {by_hand}")
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise PipelineError(f"{url}: a web page was served in place of the file (log-in, quota or notice); {by_hand}")


def download(
    url: str,
    target: Path,
    partial: Path,
    check: Check,
    sha256: str | None = None,
    auth: Credentials | None = None,
    limit: int = MAX_BYTES,
) -> None:
    """Download ``url`` to ``target``, which appears only when it is complete and right.

    Args:
        target: kept as it is if it has the checksum.
        partial: where incomplete bytes wait for another run; outside any folder that a failed job is cleaned of.
        check, auth, limit: see :class:`ResumingDownloader`.
        sha256: the file's checksum, where known.

    Raises:
        NotFound: the server has no such file.
        WrongChecksum: the file is another one; it was removed.
        PipelineError: anything else that went wrong, each with its fix.
    """
    # pooch logs the checksum of files whose checksum it was not given; the lock file does that here.
    pooch.get_logger().setLevel(logging.WARNING)
    if sha256 is None:
        target.unlink(missing_ok=True)
    downloader = ResumingDownloader(partial, check, auth, limit)
    try:
        pooch.retrieve(url, sha256, target.name, target.parent, downloader=downloader)
    except ValueError as error:
        raise WrongChecksum(
            f"{url}: wrong checksum, the file is damaged or another version and was removed ({error}); run again, "
            "or put the official file into archives.folder"
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_space(target, error) from None
        raise


def check_archive(path: Path) -> None:
    """The ``check`` for archives.

    Raises:
        PipelineError: the file is no complete zip, rar or tar archive; says what it is.
    """
    kind = kind_of_file(path)
    if kind not in ARCHIVES:
        page = " (log-in, quota or notice)" if kind == "a web page" else ""
        raise PipelineError(
            f"{path.name}: {kind}{page} where a zip, rar or tar archive is expected; download it with a browser and "
            "put it into archives.folder"
        )

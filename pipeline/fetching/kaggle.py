"""Bring a dataset or a competition's files from Kaggle, with the user's credentials, as one zip archive."""

import shutil
import zipfile
from pathlib import Path

from pipeline.data.sources import Kaggle
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError

# What a zip member gets in place of the time of download, so that the same files give the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)


def by_hand(source: Kaggle) -> str:
    """What a user without credentials can do."""
    rules = f"accept its rules at {source.page}/rules, " if source.kind == "competition" else ""
    return (
        f"log in at kaggle.com, {rules}and either create an API token (Settings, API) and save it as "
        "~/.kaggle/kaggle.json or in KAGGLE_USERNAME and KAGGLE_KEY, "
        f"or download {source.page} by hand and put the zip as {source.saved_as} into archives.folder"
    )


def _pack(folder: Path, target: Path) -> None:
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            if not name.startswith(".complete"):
                with archive.open(zipfile.ZipInfo(name, EPOCH), "w", force_zip64=True) as out, path.open("rb") as file:
                    shutil.copyfileobj(file, out, 2**20)


def fetch_from_kaggle(source: Kaggle, target: Path, scratch: Path) -> None:
    """Download through kagglehub and pack the files, stored and in order, as ``target``.

    Args:
        scratch: folder for the download and the unpacked files; removed on success.

    Raises:
        PipelineError: no credentials, rules not accepted, or the download failed; says what to do by hand.
    """
    import kagglehub
    import requests
    from kagglehub.config import get_kaggle_credentials
    from kagglehub.exceptions import DataCorruptionError, KaggleApiHTTPError, UnauthenticatedError

    try:
        known = get_kaggle_credentials()
    except ValueError as error:
        raise PipelineError(f"Kaggle: {error}; {by_hand(source)}") from None
    if source.kind == "competition" and not known:
        raise PipelineError(f"Kaggle: {source.handle} needs credentials and there are none; {by_hand(source)}")
    download = kagglehub.competition_download if source.kind == "competition" else kagglehub.dataset_download
    try:
        folder = Path(download(source.handle, output_dir=str(scratch)))
    except KaggleApiHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        reason = {401: "the credentials are not valid", 403: "not allowed: are the rules accepted?"}.get(status, error)
        raise PipelineError(f"Kaggle: {source.handle}: HTTP {status}, {reason}; {by_hand(source)}") from None
    except (UnauthenticatedError, DataCorruptionError, requests.RequestException) as error:
        raise PipelineError(f"Kaggle: {source.handle}: {error}; {by_hand(source)}") from None
    _pack(folder, target)
    shutil.rmtree(scratch, ignore_errors=True)

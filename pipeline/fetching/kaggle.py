"""Download the files of a dataset or a competition from Kaggle, with the user's credentials, into a folder."""

import shutil
from pathlib import Path

from pipeline.data.sources import Kaggle
from pipeline.fetching.download import first_line
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError

REASONS = {401: "HTTP 401, the credentials are not valid", 403: "HTTP 403, not allowed: are the rules accepted?"}


def by_hand(source: Kaggle) -> str:
    """What a user without credentials can do."""
    rules = f"accept its rules at {source.page}/rules, " if source.kind == "competition" else ""
    return (
        f"log in at kaggle.com, {rules}and either create an API token (Settings, API) and save it as "
        "~/.kaggle/kaggle.json or in KAGGLE_USERNAME and KAGGLE_KEY, "
        f"or download {source.page} by hand and put the zip as {source.folder}.zip into archives.folder"
    )


def fetch_from_kaggle(source: Kaggle, target: Path) -> None:
    """Download through kagglehub into the folder ``target``, which appears complete or not at all.

    Raises:
        PipelineError: no credentials, rules not accepted, or the download failed; says what to do by hand.
    """
    import kagglehub
    from kagglehub.config import get_kaggle_credentials

    try:
        known = get_kaggle_credentials()
    except ValueError as error:
        raise PipelineError(f"Kaggle: {error}; {by_hand(source)}") from None
    if source.kind == "competition" and not known:
        raise PipelineError(f"Kaggle: {source.handle} needs credentials and there are none; {by_hand(source)}")
    download = kagglehub.competition_download if source.kind == "competition" else kagglehub.dataset_download
    # kagglehub refuses a folder with a former attempt's files, so each attempt has an empty one.
    with atomic_folder(target) as folder:
        try:
            download(source.handle, output_dir=str(folder))
        except Exception as error:
            # From ValueError for what is no archive to those of requests: the library documents none.
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = REASONS.get(status, first_line(error))
            raise PipelineError(f"Kaggle: {source.handle}: {reason}; {by_hand(source)}") from None
        # kagglehub's own note that it has finished.
        shutil.rmtree(folder / ".complete", ignore_errors=True)

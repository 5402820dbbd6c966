"""Bring a dataset's archives, or its split lists, from a folder of the user's, a mirror or the official source."""

import argparse
import contextlib
import json
import os
import shutil
from pathlib import Path

from pipeline.data.archives import find_archive
from pipeline.data.sniff import kind_of_file
from pipeline.data.sources import SPLITS, Archive, dataset_facts, table
from pipeline.fetching.download import ATTEMPTS, FIRST_WAIT_SECONDS, NotFound, check_archive, download
from pipeline.fetching.kaggle import fetch_from_kaggle
from pipeline.fetching.lock import Lock
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log


class Fetcher:
    """Brings archives of one dataset; finished and incomplete downloads wait in ``cache`` for another run.

    Args:
        dataset: key of the table of datasets.
        folder: where the user's own archives lie, taken before any download.
        base_url: mirror that serves the archives under their names; taken in place of the official source.
        cache: folder beside the output, so that a failed job's clean-up leaves it alone.
        lock: checksums recorded at a first download.
        official: enforce checksums, the known ones and the recorded ones.
    """

    def __init__(
        self, dataset: str, folder: Path | None, base_url: str | None, cache: Path, lock: Lock, official: bool,
        attempts: int = ATTEMPTS, first_wait: float = FIRST_WAIT_SECONDS,
    ):  # fmt: skip
        self._dataset = dataset
        self._folder = folder
        self._base_url = base_url.rstrip("/") if base_url else None
        self._cache = cache
        self._lock = lock
        self._official = official
        self._patience = {"attempts": attempts, "first_wait": first_wait}

    def archive(self, archive: Archive) -> Path:
        """The archive's file: the user's own, or a download in the cache.

        Raises:
            PipelineError: it cannot be had, or is not the right one.
        """
        own = find_archive(archive, self._folder) if self._folder else None
        if own:
            self._verify(archive, own, str(own), "put the official file there, or set archives.official to false")
            return own
        if self._folder and not self._folder.is_dir():
            raise PipelineError(f"{self._folder}: no such folder; mend archives.folder")
        for name in archive.names:
            path = self._cache / name
            if path.is_file() and self._official and self._expected(archive, name) == file_sha256(path):
                log(f"{self._dataset}: {name} is here already")
                return path
            path.unlink(missing_ok=True)
        return self._download(archive)

    def _expected(self, archive: Archive, name: str) -> str | None:
        if not self._official:
            return None
        return (archive.sha256 if name == archive.name else None) or self._lock.expected(name)

    def _verify(self, archive: Archive, path: Path, source: str, mend: str) -> None:
        """Check kind and checksum of a complete file; record the checksum if none was known."""
        kind = kind_of_file(path)
        if kind not in ("zip", "rar"):
            raise PipelineError(f"{path}: {kind} where a zip or rar archive is expected; {mend}")
        if not self._official:
            return
        found, expected = file_sha256(path), self._expected(archive, path.name)
        if expected is None:
            self._lock.record(path.name, found, path.stat().st_size, source)
            log(f"{self._dataset}: recorded SHA-256 {found} of {path.name}")
        elif found != expected:
            raise PipelineError(f"{path}: wrong checksum: SHA-256 {found}, expected {expected}; {mend}")

    def _get(self, archive: Archive, name: str, url: str) -> Path:
        path = self._cache / name
        log(f"{self._dataset}: downloading {url}")
        expected = self._expected(archive, name)
        download(url, path, self._cache / f"{name}.part", check_archive, expected, **self._patience)
        self._verify(archive, path, url, "run again")
        return path

    def _download(self, archive: Archive) -> Path:
        if self._base_url:
            for name in archive.names:
                try:
                    return self._get(archive, name, f"{self._base_url}/{name}")
                except NotFound as error:
                    missing = error
            raise missing
        reasons = []
        if archive.url:
            try:
                return self._get(archive, archive.name, archive.url)
            except PipelineError as error:
                reasons.append(str(error))
                if archive.kaggle:
                    log(f"{self._dataset}: {error}; trying Kaggle")
        if archive.kaggle:
            path = self._cache / archive.kaggle.saved_as
            try:
                fetch_from_kaggle(
                    archive.kaggle, path, self._cache / f"{archive.kaggle.handle.replace('/', '-')}.kaggle"
                )
                self._verify(archive, path, archive.kaggle.page, "run again")
                return path
            except PipelineError as error:
                reasons.append(str(error))
        raise PipelineError(f"{self._dataset}: {archive.name} cannot be had. {' Then: '.join(reasons)}")


def _place(source: Path, target: Path, own: bool) -> None:
    """Give ``target`` the file ``source``: a download gets a second name where the file system can, else it is copied.

    The user's ``own`` file is copied: a second name would share its permissions with what later steps and Snakemake do.
    """
    if not own:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise PipelineError(
            f"{source}: cannot be copied to {target.parent} ({error.strerror}); make room there"
        ) from None


def fetch_archives(
    dataset: str,
    output: str | Path,
    folder: str | Path | None = None,
    base_url: str | None = None,
    lock: str | Path | None = None,
    official: bool = True,
    attempts: int = ATTEMPTS,
    first_wait: float = FIRST_WAIT_SECONDS,
) -> None:
    """Bring all archives of ``dataset`` into ``output``.

    Args:
        output: folder that holds them, complete, or does not appear.
        folder: the user's own archives, taken before any download.
        base_url: mirror of the archives, in place of the official sources.
        lock: file of recorded checksums; archives.lock.json beside ``output`` if absent.
        official: enforce checksums.
        attempts, first_wait: see :class:`pipeline.fetching.download.ResumingDownloader`.

    Raises:
        PipelineError: names the archive, what is wrong and how to bring it.
    """
    output = Path(output)
    cache = output.parent / ".downloads" / dataset
    fetcher = Fetcher(
        dataset,
        Path(folder) if folder else None,
        base_url,
        cache,
        Lock(Path(lock) if lock else output.parent / "archives.lock.json"),
        official,
        attempts,
        first_wait,
    )
    with atomic_folder(output) as target:
        for archive in dataset_facts(dataset).archives:
            path = fetcher.archive(archive)
            _place(path, target / path.name, own=path.parent != cache)
    if not official:
        # Nothing could tell whether these are still what the mirror serves next time.
        shutil.rmtree(cache, ignore_errors=True)
    log(f"{dataset}: archives are in {output}")


def _check_json(path: Path) -> None:
    if not path.read_bytes().lstrip().startswith(b"["):
        raise PipelineError(f"{path.name}: {kind_of_file(path)} where a split list (JSON) is expected; run again")


def fetch_annotations(
    dataset: str,
    output: str | Path,
    folder: str | Path | None = None,
    base_url: str | None = None,
    official: bool = True,
    attempts: int = ATTEMPTS,
    first_wait: float = FIRST_WAIT_SECONDS,
) -> None:
    """Bring train.json, val.json and test.json of ``dataset`` into ``output``.

    Args:
        folder: has {name}/{split}.json, {name} as in the table of datasets; taken before any download.
        base_url: serves data/{name}/anns/{split}.json; the pinned commit on GitHub if absent.
        official: enforce the SHA-256 sums of the pinned commit.

    Raises:
        PipelineError: a list cannot be had or is not the pinned one.
    """
    facts = dataset_facts(dataset).annotations
    output = Path(output)
    root = (base_url or table().annotations.url).rstrip("/")
    cache = output.parent / ".downloads" / dataset
    with atomic_folder(output) as target:
        for split in SPLITS:
            path, name = target / f"{split}.json", f"{facts.folder}/{split}.json"
            source = Path(folder) / name if folder else None
            expected = facts.sha256[split]
            if source:
                if not source.is_file():
                    raise PipelineError(f"{source}: no such file; put the split lists there or leave the folder out")
                shutil.copyfile(source, path)
                found = file_sha256(path)
                if official and found != expected:
                    raise PipelineError(
                        f"{source}: not the pinned split list: SHA-256 {found}, expected {expected}; fetch it from "
                        f"{table().annotations.url}/data/{facts.folder}/anns/{split}.json"
                    )
                continue
            download(
                f"{root}/data/{facts.folder}/anns/{split}.json",
                path,
                cache / f"{split}.json.part",
                _check_json,
                expected if official else None,
                attempts,
                first_wait,
            )
    shutil.rmtree(cache, ignore_errors=True)
    log(f"{dataset}: split lists are in {output}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--annotations", action="store_true", help="bring the split lists in place of the archives")
    parser.add_argument("--folder", type=Path, help="folder with files of your own, taken before any download")
    parser.add_argument("--base-url", help="mirror to download from")
    parser.add_argument("--lock", type=Path, help="file of recorded checksums; archives.lock.json beside the output")
    parser.add_argument(
        "--official", type=json.loads, choices=(True, False), default=True, help="whether checksums are enforced"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to bring the files into")
    arguments = parser.parse_args()
    common = (arguments.dataset, arguments.output, arguments.folder, arguments.base_url)
    if arguments.annotations:
        fetch_annotations(*common, official=arguments.official)
    else:
        fetch_archives(*common, lock=arguments.lock, official=arguments.official)


if __name__ == "__main__":
    run_command(main)

"""Bring a dataset's archives, or its split lists, from a folder of the user's, a mirror or the official source."""

import argparse
import contextlib
import json
import os
import shutil
from pathlib import Path

from pipeline.data.archives import archive_sha256, find_archive, match_members
from pipeline.data.members import ArchiveError
from pipeline.data.sniff import kind_of_file
from pipeline.data.sources import SPLITS, Archive, dataset_facts, table
from pipeline.data.unpack import check_members, list_members
from pipeline.fetching.credentials import hidden_credentials, split_credentials
from pipeline.fetching.download import NotFound, WrongChecksum, check_archive, download
from pipeline.fetching.kaggle import fetch_from_kaggle
from pipeline.fetching.lock import Lock
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log

MAX_LIST_BYTES = 64 * 2**20


class Fetcher:
    """Brings archives of one dataset; finished and incomplete downloads wait in ``cache`` for another run.

    Args:
        dataset: key of the table of datasets.
        folder: the user's own archives, used before any download.
        base_url: mirror that serves the archives under their names, in place of the official source.
        cache: folder beside the output, so that a failed job's clean-up leaves it alone.
        lock: checksums recorded at a first download.
        official: enforce checksums, the known ones and the recorded ones.
    """

    def __init__(
        self, dataset: str, folder: Path | None, base_url: str | None, cache: Path, lock: Lock, official: bool
    ):
        self._dataset = dataset
        self._folder = folder
        self._base_url, self._auth = split_credentials(base_url.rstrip("/")) if base_url else (None, None)
        self._cache = cache
        self._lock = lock
        self._official = official

    def archive(self, archive: Archive) -> Path:
        """The archive's path: the user's own, or a download in the cache.

        Raises:
            PipelineError: no source has it, or it is not the right one.
        """
        if self._folder and not self._folder.is_dir():
            raise PipelineError(f"{self._folder}: no such folder; correct archives.folder")
        own = find_archive(archive, self._folder) if self._folder else None
        if own:
            if own.is_file():
                check_archive(own)
            self._verify(archive, own, str(own), "put the official file there, or set archives.official to false")
            return own
        return self._from_mirror(archive) if self._base_url else self._from_source(archive)

    def _expected(self, archive: Archive, name: str) -> str | None:
        if not self._official:
            return None
        return (archive.sha256 if name == archive.name else None) or self._lock.expected(name)

    def _verify(self, archive: Archive, path: Path, source: str, fix: str) -> None:
        """Enforce the checksum of a complete archive; if none was known, read all of it and record one."""
        if not self._official:
            return
        found, expected = archive_sha256(path), self._expected(archive, path.name)
        if expected is None:
            try:
                matches = match_members(self._dataset, archive, path, list_members(path))
                check_members(path, [match.member for match in matches])
            except ArchiveError as error:
                raise PipelineError(f"{error}; {fix}") from None
            files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
            self._lock.record(path.name, found, sum(file.stat().st_size for file in files), source)
            log(f"{self._dataset}: recorded SHA-256 {found} of {path.name}")
        elif found != expected:
            wrong = f"{path}: wrong checksum: SHA-256 {found}, expected {expected}"
            raise PipelineError(f"{wrong}; {fix}{self._recorded(path.name)}")

    def _recorded(self, name: str) -> str:
        """What to do about a recorded checksum that is not the right one."""
        if not self._lock.expected(name):
            return ""
        return f" (recorded at the first download: if that was the wrong file, remove {name} from {self._lock.path})"

    def _download(self, archive: Archive, name: str, url: str) -> Path:
        path, partial = self._cache / name, self._cache / f"{name}.part"
        try:
            download(url, path, partial, check_archive, self._expected(archive, name), self._auth)
            self._verify(archive, path, url, "run again")
        except WrongChecksum as error:
            raise PipelineError(f"{error}{self._recorded(name)}") from None
        except PipelineError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _from_mirror(self, archive: Archive) -> Path:
        for name in archive.names:
            try:
                return self._download(archive, name, f"{self._base_url}/{name}")
            except NotFound as error:
                missing = error
        raise missing

    def _from_source(self, archive: Archive) -> Path:
        reasons = []
        if archive.url:
            try:
                return self._download(archive, archive.name, archive.url)
            except PipelineError as error:
                reasons.append(str(error))
                if archive.kaggle:
                    log(f"{self._dataset}: {error}; trying Kaggle")
        if archive.kaggle:
            try:
                return self._from_kaggle(archive)
            except PipelineError as error:
                reasons.append(str(error))
        if not reasons:
            place = f"{self._folder} has no" if self._folder else "archives.folder must name the folder that has"
            raise PipelineError(
                f"{self._dataset}: {place} {' or '.join(archive.names)}, and there is no other source; put it there"
            )
        raise PipelineError(f"{self._dataset}: no source has {archive.name}. {' Then: '.join(reasons)}")

    def _from_kaggle(self, archive: Archive) -> Path:
        path = self._cache / archive.kaggle.folder
        if not (path.is_dir() and self._expected(archive, path.name) == archive_sha256(path)):
            fetch_from_kaggle(archive.kaggle, path)
            self._verify(archive, path, archive.kaggle.page, "run again")
        return path


def _link_or_copy(source: str, target: str) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)


def _place(source: Path, target: Path, own: bool) -> None:
    """Give ``target`` the archive ``source``: a download gets a second name where the file system can, else a copy.

    The user's ``own`` file is copied: a second name would share its permissions with what later steps and Snakemake do.
    """
    copy = shutil.copyfile if own else _link_or_copy
    try:
        if source.is_dir():
            shutil.copytree(source, target, copy_function=copy)
        else:
            copy(source, target)
    except OSError as error:
        raise PipelineError(
            f"{source}: cannot be copied to {target.parent} ({error.strerror or error}); make room there"
        ) from None


def fetch_archives(
    dataset: str,
    output: str | Path,
    folder: str | Path | None = None,
    base_url: str | None = None,
    lock: str | Path | None = None,
    official: bool = True,
) -> None:
    """Bring all archives of ``dataset`` into ``output``.

    Args:
        output: folder that holds them, complete, or does not appear.
        folder: the user's own archives, used before any download.
        base_url: mirror of the archives, in place of the official sources.
        lock: file of recorded checksums; archives.lock.json beside ``output`` if absent.
        official: enforce checksums.

    Raises:
        PipelineError: names the archive, what is wrong and the fix.
    """
    output = Path(output)
    cache = output.parent / ".downloads" / dataset
    checksums = Lock(Path(lock) if lock else output.parent / "archives.lock.json")
    fetcher = Fetcher(dataset, Path(folder) if folder else None, base_url, cache, checksums, official)
    with atomic_folder(output) as target:
        for archive in dataset_facts(dataset).archives:
            path = fetcher.archive(archive)
            _place(path, target / path.name, own=path.parent != cache)
    if not official:
        # Without a checksum a later run cannot tell whether these are still what the mirror serves.
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
) -> None:
    """Bring train.json, val.json and test.json of ``dataset`` into ``output``.

    Args:
        folder: may have {name}/{split}.json, {name} as in the table of datasets; used before any download.
        base_url: serves data/{name}/anns/{split}.json; the pinned commit on GitHub if absent.
        official: enforce the SHA-256 sums in the table of datasets; a list that has none there is taken as it is.

    Raises:
        PipelineError: a list is missing or not the pinned one.
    """
    facts, output = dataset_facts(dataset).annotations, Path(output)
    if facts is None:
        raise PipelineError(f"{dataset}: has no published split lists; make them with pipeline.data.pet_lists")
    if folder and not Path(folder).is_dir():
        raise PipelineError(f"{folder}: no such folder; correct archives.annotations_folder")
    own = Path(folder) / facts.folder if folder else None
    if own and facts.sha256 and not own.is_dir():
        log(f"{dataset}: {folder} has no folder {facts.folder}; the published lists are taken")
        own = None
    if own is None and not facts.sha256:
        raise PipelineError(
            f"{dataset}: its split lists are nobody else's: let archives.annotations_folder name the folder that has "
            f"{facts.folder}/train.json, val.json and test.json, or have them made (lists in datasets.yaml)"
        )
    root, auth = split_credentials((base_url or table().annotations.url).rstrip("/"))
    cache = output.parent / ".downloads" / dataset
    with atomic_folder(output) as target:
        for split in SPLITS:
            path, expected = target / f"{split}.json", facts.sha256.get(split) if official else None
            address = f"data/{facts.folder}/anns/{split}.json"
            if own is None:
                partial = cache / f"{split}.json.part"
                download(f"{root}/{address}", path, partial, _check_json, expected, auth, MAX_LIST_BYTES)
                continue
            source = own / f"{split}.json"
            if not source.is_file():
                raise PipelineError(f"{source}: no such file; put the split lists there or leave the folder out")
            shutil.copyfile(source, path)
            found = file_sha256(path)
            if expected and found != expected:
                raise PipelineError(
                    f"{source}: not the pinned split list: SHA-256 {found}, expected {expected}; fetch it from "
                    f"{table().annotations.url}/{address}"
                )
    shutil.rmtree(cache, ignore_errors=True)
    log(f"{dataset}: split lists are in {output}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--annotations", action="store_true", help="bring the split lists in place of the archives")
    parser.add_argument("--folder", type=Path, help="folder with files of your own, used before any download")
    parser.add_argument("--base-url", help="mirror to download from")
    parser.add_argument("--lock", type=Path, help="file of recorded checksums; archives.lock.json beside the output")
    parser.add_argument(
        "--official", type=json.loads, choices=(True, False), default=True, help="whether checksums are enforced"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to bring the files into")
    arguments = parser.parse_args()
    url = hidden_credentials(arguments.base_url, "annotations" if arguments.annotations else "archives")
    common = (arguments.dataset, arguments.output, arguments.folder, url)
    if arguments.annotations:
        fetch_annotations(*common, official=arguments.official)
    else:
        fetch_archives(*common, lock=arguments.lock, official=arguments.official)


if __name__ == "__main__":
    run_command(main)

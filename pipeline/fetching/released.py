"""A released checkpoint into the results folder: from a folder of the user's, or from the Hugging Face hub.

Commit, file and checksum that the table does not give are recorded at first use, once the file was read as a checkpoint
of its method that fits the backbone; from then on they are enforced.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.released import TABLE, ReleasedCheckpoint, released_checkpoint
from pipeline.fetching.download import first_line
from pipeline.fetching.lock import Lock
from pipeline.models.backbone import load_backbone
from pipeline.models.checkpoints import read_released_checkpoint
from pipeline.runtime.atomic import atomic_path, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log

SUFFIXES = (".ckpt", ".pth", ".pt", ".safetensors")
DEFAULT_BRANCH = "main"


def choose_file(key: str, entry: ReleasedCheckpoint, files: Sequence[str]) -> str:
    """The one checkpoint among the repository's ``files``, or, of several, the one whose path names the dataset.

    Raises:
        PipelineError: there is none, or more than one; the message lists them.
    """
    candidates = sorted(file for file in files if file.lower().endswith(SUFFIXES))
    dataset = entry.dataset.partition("_")[0]
    chosen = candidates if len(candidates) == 1 else [file for file in candidates if dataset in file.lower()]
    if len(chosen) != 1:
        found = f"{len(candidates)} checkpoints: {', '.join(candidates)}" if candidates else "no checkpoint"
        raise PipelineError(
            f"{TABLE}: {key}: {entry.repository} has {found} among its {len(files)} files; give the right one's path "
            f"as file, or correct repository (checkpoints end with {', '.join(SUFFIXES)})"
        )
    return chosen[0]


def download(
    key: str, entry: ReleasedCheckpoint, recorded: dict[str, Any], folder: Path
) -> tuple[Path, dict[str, str]]:
    """Bring the file into ``folder``: its path there, and what places it: repository, revision, file.

    What arrived before a failure stays and is not downloaded again. HF_ENDPOINT names a mirror.

    Args:
        recorded: revision and file found at an earlier use, taken where the table has none.

    Raises:
        PipelineError: no network, no such repository or file, or no telling which file it is.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    revision = entry.revision or recorded.get("revision")
    file = entry.file or recorded.get("file")
    place = {"repo_id": entry.repository, "repo_type": entry.repository_type}
    try:
        if not (revision and file):
            information = HfApi(endpoint=constants.ENDPOINT).repo_info(**place, revision=revision)
            revision = information.sha
            file = file or choose_file(key, entry, [sibling.rfilename for sibling in information.siblings or []])
        log(f"{key}: fetching {file} of {entry.repository} at {revision}")
        path = hf_hub_download(**place, filename=file, revision=revision, local_dir=folder)
    except PipelineError:
        raise
    except Exception as error:
        # Which classes come here depends on the hub's library and on the HTTP and Xet clients that it uses.
        raise PipelineError(
            f"{TABLE}: {key}: {file or 'the list of files'} could not be had from {constants.ENDPOINT} "
            f"({first_line(error)}). On a machine with a network download it from "
            f"{entry.page(revision or DEFAULT_BRANCH)} as {key}.ckpt, and name its folder in the configuration: "
            "archives: {released_folder: THAT FOLDER}; or set HF_ENDPOINT to a mirror"
        ) from None
    return Path(path), {"repository": entry.repository, "revision": revision, "file": file}


def fetch_released(
    key: str, output: Path, backbone: Path, lock: Lock, folder: Path | None = None, official: bool = True
) -> None:
    """Bring the checkpoint ``key`` as ``output``/checkpoint, with ``output``/source.json that says what it is.

    Args:
        backbone: folder of the CLIPSeg that it must fit.
        lock: what was recorded at first use.
        folder: if it has {key}.ckpt (of any format), that is taken in place of a download.
        official: whether this is the authors' file; if so, its checksum is enforced.

    Raises:
        PipelineError: it cannot be had, is not the known file, or is no checkpoint of its method and this backbone.
    """
    entry = released_checkpoint(key)
    name, cache = f"{key} of {entry.repository}", output.with_name(f".{key}.download")
    recorded = lock.entry(name) if official else {}
    own = folder and folder / f"{key}.ckpt"
    if own and own.is_file():
        path, place = own, {}
    else:
        own = None
        path, place = download(key, entry, recorded, cache)
    digest = file_sha256(path)
    expected = (entry.sha256 or recorded.get("sha256")) if official else None
    if expected and digest != expected:
        if not own:
            path.unlink()
        raise PipelineError(
            f"{path}: not the known file of {key}: SHA-256 {digest}, expected {expected}; "
            f"{'take the right one' if own else 'it was removed, so run again'}, or "
            f"{f'correct the entry in {TABLE}' if entry.sha256 else f'remove the record from {lock.path}'}"
        )
    segmenter, settings = read_released_checkpoint(path, load_backbone(backbone))
    if settings.kind != entry.method:
        raise PipelineError(f"{path}: a checkpoint of kind {settings.kind}, where {TABLE} says {entry.method} ({key})")
    if official:
        lock.record(name, digest, path.stat().st_size, str(path) if own else entry.page(place["revision"]), **place)
    trained = sum(value.numel() for value in segmenter.trainable_parameters().values())
    source = {"official": official, "sha256": digest, "trained_parameters": trained, **place}
    with atomic_path(output / "checkpoint") as temporary:
        # Both folders of a download lie in the same parent.
        shutil.copyfile(path, temporary) if own else path.replace(temporary)
    shutil.rmtree(cache, ignore_errors=True)
    write_json(output / "source.json", source)
    log(f"{key}: a {settings.kind} with {trained:,} trained parameters, SHA-256 {digest}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key", required=True, help="entry of the table of released checkpoints")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the CLIPSeg that it must fit")
    parser.add_argument("--folder", type=Path, help="folder with a KEY.ckpt of your own, taken before any download")
    parser.add_argument("--lock", type=Path, required=True, help="file in which commit, file and checksum are recorded")
    parser.add_argument(
        "--official", type=json.loads, choices=(True, False), default=True, help="whether it is the authors' file"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder that it is put into")
    arguments = parser.parse_args()
    fetch_released(
        arguments.key, arguments.output, arguments.backbone, Lock(arguments.lock), arguments.folder, arguments.official
    )


if __name__ == "__main__":
    run_command(main)

"""The pretrained CLIPSeg into the results folder: by pinned revision from the Hugging Face hub, or from a local folder.

Every file is checked: those of the hub against the table of facts, a local folder for being a complete CLIPSeg.
"""

import argparse
import csv
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from pipeline.fetching.download import first_line
from pipeline.models.folder import CONFIG, WEIGHTS, misfit, read_config
from pipeline.runtime.atomic import atomic_folder
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log, track

OPTIONAL = ("preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")
TOKENIZER = ("vocab.json", "merges.txt")


@dataclass(frozen=True)
class KnownFile:
    """A row of the table of facts: size (bytes) and SHA-256 of a file at one revision of a repository."""

    repository: str
    revision: str
    name: str
    size: int
    sha256: str


def _read_facts(facts: Path) -> list[KnownFile]:
    with facts.open(newline="", encoding="utf-8") as file:
        return [
            KnownFile(row["repository"], row["revision"], row["file"], int(row["bytes"]), row["sha256"])
            for row in csv.DictReader(file)
        ]


def known_files(repository: str, revision: str, facts: Path) -> list[KnownFile]:
    """The files of one revision according to the table of facts.

    Raises:
        PipelineError: the table does not have the revision.
    """
    known = [file for file in _read_facts(facts) if (file.repository, file.revision) == (repository, revision)]
    if not known:
        raise PipelineError(
            f"backbone: no checksums for revision {revision} of {repository}; add its files to {facts}, or download "
            "them and set backbone: {source: folder, folder: PATH}"
        )
    return known


def known_weights(sha256: str, facts: Path) -> KnownFile | None:
    """The file with this checksum according to the table of facts."""
    return next((file for file in _read_facts(facts) if file.sha256 == sha256), None)


def _mismatch(path: Path, file: KnownFile) -> str | None:
    size = path.stat().st_size
    if size != file.size:
        return f"{size:,} bytes instead of {file.size:,}"
    digest = file_sha256(path)
    return None if digest == file.sha256 else f"SHA-256 {digest} instead of {file.sha256}"


def fetch_from_hub(repository: str, revision: str, output: Path, facts: Path) -> None:
    """Download one pinned revision into ``output``, every file checked against the table of facts.

    What arrived before a failure stays beside ``output`` and is not downloaded again. HF_ENDPOINT names a mirror.

    Raises:
        PipelineError: no network, or a file that is not the known one.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    files = known_files(repository, revision, facts)
    download = output.with_name(f".{output.name}.download")
    for file in track(files, f"backbone: fetching {repository}"):
        path = download / file.name
        if path.is_file() and _mismatch(path, file) is None:
            continue
        try:
            hf_hub_download(repository, file.name, revision=revision, local_dir=download)
        except Exception as error:
            # Which classes come here depends on the hub's library and on the HTTP and Xet clients that it uses.
            names = ", ".join(known.name for known in files)
            raise PipelineError(
                f"backbone: {file.name} could not be downloaded from {constants.ENDPOINT} ({first_line(error)}). "
                f"On a machine with a network download {names} from "
                f"https://huggingface.co/{repository}/tree/{revision} into one folder, and set "
                "backbone: {source: folder, folder: THAT FOLDER} in the configuration; or set HF_ENDPOINT to a mirror"
            ) from None
        reason = _mismatch(path, file)
        if reason:
            path.unlink()
            raise PipelineError(
                f"backbone: {file.name} from {constants.ENDPOINT} is not the file of revision {revision}: {reason}; "
                "it was removed, so run again, or check what HF_ENDPOINT serves"
            )
    with atomic_folder(output) as temporary:
        for file in files:
            # Renamed, not copied: both folders lie in the same parent.
            (download / file.name).rename(temporary / file.name)
    shutil.rmtree(download)


def copy_from_folder(folder: Path, output: Path, facts: Path) -> None:
    """Check a local folder and copy what the study needs of it into ``output``.

    Raises:
        PipelineError: incomplete or broken folder.
    """
    check_folder(folder)
    present = [CONFIG, *OPTIONAL, *TOKENIZER, WEIGHTS]
    with atomic_folder(output) as temporary:
        for name in track([name for name in present if (folder / name).is_file()], f"backbone: copying {folder}"):
            shutil.copyfile(folder / name, temporary / name)
        digest = file_sha256(temporary / WEIGHTS)
    known = known_weights(digest, facts)
    found = f"{known.repository} at {known.revision}" if known else f"unknown to {facts.name}, SHA-256 {digest}"
    log(f"backbone: the weights are {found}")


def check_folder(folder: Path) -> None:
    """Check that ``folder`` holds a complete CLIPSeg with its tokenizer, without reading the weights themselves.

    Raises:
        PipelineError: says what is missing or broken.
    """
    if not folder.is_dir():
        raise PipelineError(f"backbone: {folder} is not a folder; set backbone.folder to one in transformers' format")
    if not (folder / WEIGHTS).is_file() and (folder / "pytorch_model.bin").is_file():
        raise PipelineError(
            f"{folder}: holds pytorch_model.bin only, which can run code when it is opened; load it once with "
            "transformers where you trust it and save_pretrained it, which writes model.safetensors"
        )
    missing = [name for name in (CONFIG, WEIGHTS, *TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise PipelineError(
            f"{folder}: no {', '.join(missing)}; a backbone's folder holds {CONFIG}, {WEIGHTS} and CLIP's tokenizer "
            f"({' and '.join(TOKENIZER)})"
        )
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{folder / WEIGHTS}: not a complete safetensors file ({error})") from None
    reason = misfit(read_config(folder), shapes)
    if reason:
        raise PipelineError(f"{folder / WEIGHTS}: not the weights of {CONFIG} beside it: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--repository", help="repository on the hub; with --revision")
    source.add_argument("--folder", type=Path, help="local folder in transformers' format")
    parser.add_argument("--revision", help="commit of the repository")
    parser.add_argument("--facts", type=Path, required=True, help="table of the known files' sizes and checksums")
    parser.add_argument("--output", type=Path, required=True, help="folder that the backbone is put into")
    arguments = parser.parse_args()
    if bool(arguments.repository) != bool(arguments.revision):
        parser.error("--repository and --revision belong together")
    if arguments.folder:
        copy_from_folder(arguments.folder, arguments.output, arguments.facts)
    else:
        fetch_from_hub(arguments.repository, arguments.revision, arguments.output, arguments.facts)


if __name__ == "__main__":
    run_command(main)

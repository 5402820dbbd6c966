"""Pretrained weights of an encoder into the results folder: from a folder of the user's, a mirror or their publisher.

A file is checked against the SHA-256 in the table of facts, of which publishers may give the first digits only: those
that torch.hub's convention puts into the file's name.
"""

import argparse
import csv
import shutil
from pathlib import Path

from pipeline.fetching.credentials import hidden_credentials, split_credentials
from pipeline.fetching.download import download
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log

MAX_BYTES = 2**30


def fetch_pretrained(
    name: str, output: Path, facts: Path, folder: Path | None = None, base_url: str | None = None
) -> None:
    """Bring the weights ``name`` as the file ``output``.

    Args:
        facts: the table of known files.
        folder: if it has the file under its published name, that is taken in place of a download.
        base_url: mirror that serves the file under that name, in place of the publisher.

    Raises:
        PipelineError: the table does not have it, it cannot be had, or it is not the known file.
    """
    with facts.open(newline="", encoding="utf-8") as table:
        known = {row["name"]: row for row in csv.DictReader(table)}
    if name not in known:
        raise PipelineError(f"{facts}: no weights {name!r}; known: {', '.join(known)}")
    url, beginning = known[name]["url"], known[name]["sha256"]
    file = url.rpartition("/")[2]

    def check(path: Path) -> None:
        if not (digest := file_sha256(path)).startswith(beginning):
            raise PipelineError(
                f"{path}: not {file}: SHA-256 {digest} where {facts} has {beginning}; take the file from {url}"
            )
        log(f"{name}: {file}, SHA-256 {digest}")

    own = folder / file if folder else None
    with atomic_path(output) as temporary:
        if own and own.is_file():
            check(own)
            shutil.copyfile(own, temporary)
            return
        root, auth = split_credentials(base_url.rstrip("/")) if base_url else (url.rpartition("/")[0], None)
        partial = output.parent / ".downloads" / f"{file}.part"
        download(f"{root}/{file}", temporary, partial, check, auth=auth, limit=MAX_BYTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="row of the table of facts")
    parser.add_argument("--folder", type=Path, help="folder that may have the file, looked into before any download")
    parser.add_argument("--base-url", help="mirror to download from")
    parser.add_argument("--facts", type=Path, required=True, help="table of the known files")
    parser.add_argument("--output", type=Path, required=True, help="the file")
    options = vars(parser.parse_args())
    fetch_pretrained(**options | {"base_url": hidden_credentials(options["base_url"], "archives")})


if __name__ == "__main__":
    run_command(main)

"""Split lists of Oxford-IIIT Pet, made from its archives: its own trainval and test lists, and prompts from its facts.

One case in ten of trainval is for validation, evenly over the breeds. Prompts p0 to p9 are built as those of the
published lists are: word by word more (species, breed, size, number, place), then with a description. They have no
boxes.
"""

import argparse
import hashlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.data.archives import find_archives, match_members
from pipeline.data.descriptions import place_word, size_word
from pipeline.data.images import ImageError, decode
from pipeline.data.masks import read_mask
from pipeline.data.members import ArchiveError
from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.data.unpack import list_members, member_path, unpack
from pipeline.runtime.atomic import atomic_folder, write_text
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log, track

DATASET = "oxford_pet"
LISTS = ("trainval", "test")
SPECIES = {"1": "cat", "2": "dog"}
VALIDATION = 10
"""One case in so many of trainval, evenly over the breeds."""
SIZES = (0.2, 0.4)
"""Shares of the image from which on a pet is medium and large: about a third of them each."""
DESCRIPTIONS = {
    "cat": ("an animal with whiskers and pointed ears", "a furry animal with a long tail"),
    "dog": ("an animal with a snout and a wet nose", "a furry animal on four legs"),
}


class Pet(NamedTuple):
    """A line of the archive's lists; ``breed`` in words."""

    case: str
    species: str
    breed: str


def read_list(text: str) -> list[Pet]:
    """The lines of trainval.txt or test.txt: image, class, species (1 cat, 2 dog), breed; # starts a comment.

    Raises:
        ValueError: a line has another form.
    """
    pets = []
    for line in filter(None, (line.partition("#")[0].split() for line in text.splitlines())):
        if len(line) != 4 or line[2] not in SPECIES or "_" not in line[0]:
            raise ValueError(f"{' '.join(line)!r} is not an image, its class, species and breed")
        breed = line[0].rpartition("_")[0].replace("_", " ")
        pets.append(Pet(line[0], SPECIES[line[2]], breed))
    return pets


def divide(pets: list[Pet]) -> tuple[list[Pet], list[Pet]]:
    """Those of trainval for training and for validation, in their order; which ones depends on their names alone."""
    by_breed = sorted(pets, key=lambda pet: (pet.breed, hashlib.sha256(pet.case.encode()).digest()))
    chosen = set(by_breed[::VALIDATION])
    return [pet for pet in pets if pet not in chosen], [pet for pet in pets if pet in chosen]


def prompts(pet: Pet, size: str, place: str) -> dict[str, str | list[str]]:
    """p0 to p9."""
    bred = f"{pet.breed} {pet.species}"
    counted, where = f"one {size} {bred}", f"at the {place} of the image"
    kinds = DESCRIPTIONS[pet.species]
    return {
        "p0": "",
        "p1": pet.species,
        "p2": bred,
        "p3": f"{size} {pet.species}",
        "p4": f"{size} {bred}",
        "p5": counted,
        "p6": f"{counted} {where}",
        "p7": [f"{pet.species}, {kind}" for kind in kinds],
        "p8": [f"{counted}, {kind}" for kind in kinds],
        "p9": [f"{counted}, {kind}, {where}" for kind in kinds],
    }


def _entry(pet: Pet, trimap: Path) -> dict[str, Any]:
    try:
        with decode(trimap) as image:
            mask, _ = read_mask(image, dataset_facts(DATASET).mask_kind)
    except ImageError as error:
        raise ArchiveError(f"the mask {trimap.name} {error}") from None
    except ValueError as error:
        raise ArchiveError(f"the mask {trimap.name} is {error}") from None
    if not mask.any():
        raise ArchiveError(f"the mask {trimap.name} is empty")
    described = prompts(pet, size_word(float(mask.mean()), SIZES), place_word(mask))
    return {"img_name": f"{pet.case}.jpg", "mask_name": trimap.name, "prompts": described}


def make_lists(archives: Path, threads: int, output: Path) -> None:
    """Write ``output``/{train,val,test}.json, in the format of the published lists.

    Raises:
        PipelineError: an archive is missing, damaged or not Oxford-IIIT Pet's; says which.
    """
    archive, path = find_archives(DATASET, archives)[-1]
    try:
        members = list_members(path)
        trimaps = {match.case: match.member for match in match_members(DATASET, archive, path, members)}
        texts = {name: member for name in LISTS for member in members if member.endswith(f"annotations/{name}.txt")}
        if len(texts) < len(LISTS):
            raise ArchiveError(f"{path}: has no annotations/trainval.txt or no annotations/test.txt")
        with atomic_folder(output) as folder, tempfile.TemporaryDirectory(dir=output.parent) as unpacked:
            unpack(path, unpacked, [*texts.values(), *trimaps.values()])
            pets = {}
            for name, member in texts.items():
                try:
                    pets[name] = read_list(member_path(unpacked, member).read_text(encoding="utf-8"))
                except ValueError as error:
                    raise ArchiveError(f"{path}: {member}: {error}") from None
            train, val = divide(pets["trainval"])
            lists = dict(zip(SPLITS, (train, val, pets["test"]), strict=True))
            if missing := [pet.case for part in lists.values() for pet in part if pet.case not in trimaps]:
                raise ArchiveError(f"{path}: has no trimap of {len(missing)} listed cases, e.g. {missing[0]}")
            with ThreadPoolExecutor(threads) as pool:
                for split, part in lists.items():
                    files = (member_path(unpacked, trimaps[pet.case]) for pet in part)
                    entries = track(pool.map(_entry, part, files), f"{DATASET}: {split} list", total=len(part))
                    write_text(folder / f"{split}.json", json.dumps(list(entries)))
    except ArchiveError as error:
        raise PipelineError(f"{error}; remove the folder {archives}, and fetch the official archives again") from None
    log(f"{DATASET}: split lists of {', '.join(f'{len(part)} {split}' for split, part in lists.items())} cases")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=Path, required=True, help="folder with the dataset's archives")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder for train.json, val.json, test.json")
    make_lists(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_command(main)

"""Split lists of a dataset of one's own, made from its masks as its entry's ``lists`` says.

Which cases validate and test depends on names and seed alone; those of one ``subject`` stay together. Prompts say word
by word more of the target, as the published ones do: its organ, size, number and place, from the mask. Those of an
empty mask say no more than target and organ, so that a model cannot read that nothing is there.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from pipeline.data.archives import find_archives, match_members
from pipeline.data.descriptions import place_word, size_word
from pipeline.data.images import ImageError, decode
from pipeline.data.masks import read_mask
from pipeline.data.sources import SPLITS, MadeLists, dataset_facts
from pipeline.data.unpack import list_members, member_path, unpack
from pipeline.runtime.atomic import atomic_folder, write_text
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log, track

COUNTS = {1: "one", 2: "two", 3: "three"}
SPECK = 0.02
"""Share of the foreground below which a connected region does not count."""


class Seen(NamedTuple):
    """What a mask shows: its share of the image (0..1), and the places of its regions, the largest first."""

    share: float
    places: list[str]


def see(mask: np.ndarray) -> Seen:
    """What ``mask``, bool (H, W), shows."""
    labelled, count = ndimage.label(mask)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    regions = [1 + index for index in np.argsort(-sizes, kind="stable") if sizes[index] >= SPECK * sizes.sum()]
    return Seen(float(mask.mean()), [place_word(labelled == region) for region in regions])


def prompts(seen: Seen, lists: MadeLists, bounds: tuple[float, float]) -> dict[str, str]:
    """p0 to p5.

    Args:
        bounds: shares of the image from which on a target is medium and large.
    """
    where = f" in the {lists.organ}" if lists.organ else ""
    plain = f"{lists.target}{where}"
    sized = counted = placed = plain
    if seen.places:
        size, count = size_word(seen.share, bounds), COUNTS.get(len(seen.places), "several")
        sized, counted = f"{size} {plain}", f"{count} {size} {plain}"
        placed = f"{counted}, located in {', '.join(dict.fromkeys(seen.places))} of the image"
    return {"p0": "", "p1": lists.target, "p2": plain, "p3": sized, "p4": counted, "p5": placed}


def divide(subjects: Mapping[str, str], lists: MadeLists) -> dict[str, str]:
    """The split of each case.

    Args:
        subjects: patient or sequence by case; "" where nothing is known, and the case stands alone.

    Raises:
        ValueError: there are too few subjects for three splits.
    """
    together: dict[str, list[str]] = {}
    for case in sorted(subjects):
        together.setdefault(subjects[case] or f"\0{case}", []).append(case)
    order = sorted(together, key=lambda name: hashlib.sha256(f"{lists.seed}\0{name}".encode()).digest())
    if len(order) < len(SPLITS):
        raise ValueError(f"{len(order)} patients or cases cannot be divided into {', '.join(SPLITS)}")
    splits: dict[str, str] = {}
    for split, share in (("test", lists.test), ("val", lists.val)):
        count = 0
        while not count or (count < round(share * len(subjects)) and len(order) > 2):
            cases = together[order.pop(0)]
            count += len(cases)
            splits |= dict.fromkeys(cases, split)
    return splits | {case: "train" for name in order for case in together[name]}


def _see_case(paths: Sequence[Path], kind: str) -> Seen:
    masks = []
    for path in paths:
        try:
            with decode(path) as image:
                masks.append(read_mask(image, kind)[0])
        except ImageError as error:
            raise PipelineError(f"the mask {path.name} {error}") from None
        except ValueError as error:
            raise PipelineError(f"the mask {path.name} is {error}; correct it") from None
    if len({mask.shape for mask in masks}) > 1:
        raise PipelineError(f"the masks {', '.join(path.name for path in paths)} differ in size; correct them")
    return see(np.logical_or.reduce(masks))


def make_lists(dataset: str, archives: Path, threads: int, output: Path) -> None:
    """Write ``output``/{train,val,test}.json, in the format of the published lists.

    Raises:
        PipelineError: an archive is missing or damaged, a mask cannot be read, or there are too few cases; says which.
    """
    facts = dataset_facts(dataset)
    if facts.lists is None:
        raise PipelineError(f"{dataset}: its entry in datasets.yaml does not say how lists are made; give it `lists`")
    subjects: dict[str, str] = {}
    files: dict[str, dict[str, list[Path]]] = {}
    with atomic_folder(output) as folder, tempfile.TemporaryDirectory(dir=output.parent) as unpacked:
        for number, (archive, path) in enumerate(find_archives(dataset, archives)):
            matches = match_members(dataset, archive, path, list_members(path))
            target = Path(unpacked, str(number))
            unpack(path, target, [match.member for match in matches if match.role == "mask"])
            for match in matches:
                subjects.setdefault(match.case, facts.subject_of(match.case, match.groups))
                roles = files.setdefault(match.case, {"image": [], "mask": []})
                roles[match.role].append(member_path(target, match.member))
        whole = sorted(case for case, roles in files.items() if roles["image"] and roles["mask"])
        if alone := len(files) - len(whole):
            log(f"{dataset}: {alone} files have no partner, image or mask, and are left out")
        try:
            splits = divide({case: subjects[case] for case in whole}, facts.lists)
        except ValueError as error:
            raise PipelineError(f"{dataset}: {error}; add images with masks") from None
        with ThreadPoolExecutor(threads) as pool:
            masks = (sorted(files[case]["mask"]) for case in whole)
            found = pool.map(lambda paths: _see_case(paths, facts.mask_kind), masks)
            seen = dict(zip(whole, track(found, f"{dataset}: reading masks", total=len(whole)), strict=True))
        shares = [seen[case].share for case in whole if splits[case] == "train" and seen[case].places]
        low, high = np.quantile(shares, [1 / 3, 2 / 3]) if shares else (0.0, 0.0)
        for split in SPLITS:
            entries = [
                {
                    "img_name": files[case]["image"][0].name,
                    "mask_name": sorted(files[case]["mask"])[0].name,
                    "prompts": prompts(seen[case], facts.lists, (low, high)),
                }
                for case in whole
                if splits[case] == split
            ]
            write_text(folder / f"{split}.json", json.dumps(entries, ensure_ascii=False))
    counts = ", ".join(f"{list(splits.values()).count(split)} {split}" for split in SPLITS)
    log(f"{dataset}: split lists of {counts} cases")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--archives", type=Path, required=True, help="folder with the dataset's archives")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder for train.json, val.json, test.json")
    make_lists(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_command(main)

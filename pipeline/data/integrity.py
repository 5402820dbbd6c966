"""Check that a standardised dataset is complete and the one its split lists describe; write integrity.json."""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.data.alignment import misalignment
from pipeline.data.cases import Case, examples, read_cases
from pipeline.data.fingerprints import THUMBNAIL, Fingerprint
from pipeline.data.leak_free import related, separate
from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.data.splits import Record, deduplicate, read_split_lists, repeated
from pipeline.runtime.atomic import read_json, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log, track

BOX_TOLERANCE = 3
"""Pixels by which an annotated box may differ from the mask's; the lists' boxes were drawn on lossy masks."""
COMPLETE = 0.8
"""Share of the published records from which on the dataset's contrast is compared with the published one's."""


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a mask as the split lists annotate it.

    Args:
        mask: bool (H, W).

    Returns:
        (xmin - 1, ymin - 1, xmax + 1, ymax + 1) over all foreground, pixels, clipped at 0; (W, H, 0, 0) if it is empty.
    """
    height, width = mask.shape
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return width, height, 0, 0
    return max(0, int(columns[0]) - 1), max(0, int(rows[0]) - 1), int(columns[-1]) + 1, int(rows[-1]) + 1


@dataclass
class _Finding:
    """What the files of one case hold, and what is wrong with them."""

    case: Case
    problem: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    thumbnail: np.ndarray | None = None
    """(S, S) levels of the mask, 0..255."""


def _examine(folder: Path, case: Case) -> _Finding:
    finding = _Finding(case)
    paths = {"image": folder / "images" / case.image, "mask": folder / "masks" / case.mask}
    if case.reference_mask_sha256:
        paths["reference_mask"] = folder / "masks_reference" / case.mask
    for what, path in paths.items():
        if not path.is_file():
            finding.problem = f"{what} {path.name} is missing"
            return finding
        if file_sha256(path) != getattr(case, f"{what}_sha256"):
            finding.problem = f"{what} {path.name} is not the file that cases.csv describes"
            return finding
    with Image.open(paths["mask"]) as mask:
        # The image's own pixels are those that standardising decoded: its bytes are the same.
        levels, size = np.asarray(mask), (case.width, case.height)
        foreground = levels == 255
        if mask.size != size or not np.count_nonzero(levels) == np.count_nonzero(foreground) == case.foreground:
            finding.problem = f"mask {case.mask} differs from cases.csv: {size} pixels, {case.foreground} foreground"
            return finding
        finding.box = mask_box(foreground)
        finding.thumbnail = np.asarray(mask.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return finding


def _refuse(dataset: str, what: str, problems: Sequence[str], fix: str) -> None:
    if problems:
        raise PipelineError(f"{dataset}: {len(problems)} {what}: {examples(problems, '; ')}. {fix}")


def _compare_lists(
    dataset: str,
    records: Sequence[Record],
    cases: Sequence[Case],
    provenance: dict[str, Any],
    prints: dict[str, Fingerprint],
) -> None:
    """The rows must be the lists' records, minus those that standardising reported missing or left out, as moved."""
    missing = {(split, case) for split, case in provenance["missing"]}
    expected = [record for record in records if (record.split, record.case) not in missing]
    if provenance["split"] != "published":
        expected, _ = deduplicate(expected)
    if provenance["split"] == "leak_free":
        subjects = {case.case: case.subject for case in cases}
        expected = separate(expected, related(prints, subjects, bool(dataset_facts(dataset).sequences)))
    fix = "Standardise the dataset again"
    if len(expected) != len(cases):
        raise PipelineError(
            f"{dataset}: cases.csv has {len(cases)} rows, the split lists {len(expected)} records. {fix}"
        )
    problems = [
        f"{record.case} ({record.split})"
        for record, case in zip(expected, cases, strict=True)
        if (record.split, record.case, record.prompts) != (case.split, case.case, case.prompts)
        or (list(record.bbox) if record.bbox else None) != case.bbox
    ]
    _refuse(dataset, "records differ from the split lists", problems, fix)


def _compare_boxes(dataset: str, cases: Sequence[Case], findings: dict[str, _Finding]) -> dict[str, int]:
    """Compare every annotated box with the mask's: their number and the largest difference, pixels."""
    largest, problems = 0, []
    boxed = [case for case in cases if case.bbox is not None]
    for case in boxed:
        box = findings[case.case].box
        difference = max(abs(one - other) for one, other in zip(box, case.bbox, strict=True))
        largest = max(largest, difference)
        if difference > BOX_TOLERANCE:
            problems.append(f"{case.case} ({case.split}): mask {list(box)}, list {case.bbox}")
    _refuse(
        dataset,
        f"of {len(boxed)} annotated boxes differ from the masks' by more than {BOX_TOLERANCE} px",
        problems,
        "Names or images are not those of the split lists: fetch the official archives, or set archives.official to "
        "false if these are resized copies",
    )
    return {"compared": len(boxed), "largest_difference": largest}


def _compare_folders(dataset: str, folder: Path, cases: Sequence[Case]) -> None:
    known = {"images": {case.image for case in cases}, "masks": {case.mask for case in cases}}
    known["masks_reference"] = {case.mask for case in cases if case.reference_mask_sha256}
    extra = [
        f"{name}/{path.name}"
        for name, names in known.items()
        if (folder / name).is_dir()
        for path in sorted((folder / name).iterdir())
        # Hidden files are the file system's and Snakemake's own (.snakemake_timestamp in a folder that is an output).
        if path.name not in names and not path.name.startswith(".")
    ]
    _refuse(dataset, "files belong to no case", extra, "Standardise the dataset again")


def _contradictions(dataset: str, cases: Sequence[Case], prints: dict[str, Fingerprint]) -> list[list[str]]:
    """Pairs of cases with the same pixels and different masks or classes; those that are not known are an error."""
    first: dict[str, Case] = {}
    pairs = []
    for case in cases:
        other = first.setdefault(prints[case.case].pixels, case)
        if (other.mask_sha256, other.group) != (case.mask_sha256, case.group):
            pairs.append(sorted((other.case, case.case)))
    known = [sorted(pair) for pair in dataset_facts(dataset).same_pixels]
    new = [" = ".join(pair) for pair in pairs if pair not in known]
    what = "pairs of cases have the same image and different masks or classes"
    _refuse(dataset, what, new, "Fetch the official archives, or list the pairs in datasets.yaml, same_pixels")
    return pairs


def _compare_contents(
    dataset: str, findings: dict[str, _Finding], prints: dict[str, Fingerprint], published: float | None
) -> None:
    """Refuse images that belong to other masks, where the dataset as a whole shows it."""
    used = [case for case, finding in findings.items() if finding.case.foreground]
    if not used:
        return
    thumbnails = np.stack([prints[case].thumbnail for case in used]).astype(float)
    masks = np.stack([findings[case].thumbnail for case in used]) / 255
    reason = misalignment(thumbnails, masks, published)
    if reason:
        raise PipelineError(
            f"{dataset}: images and masks do not belong together: {reason}. Fetch the official archives"
        )


def _read_provenance(folder: Path) -> tuple[dict[str, Any], dict[str, Fingerprint]]:
    """provenance.json of a standardised dataset, and the fingerprints in it."""
    path, fix = folder / "provenance.json", "standardise the dataset again"
    provenance = read_json(path, dict, fix)
    try:
        for key in ("missing", "dropped"):
            provenance[key] = [[split, case] for split, case in provenance[key]]
        provenance["split"], provenance["grey_images"], provenance["moved"]
        return provenance, {case: Fingerprint.from_json(text) for case, text in provenance["fingerprints"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PipelineError(f"{path}: not what standardising wrote ({error!r}); {fix}") from None


def verify(dataset: str, folder: Path, annotations: Path, verify_boxes: bool, threads: int, output: Path) -> None:
    """Check every file and record of a standardised dataset and write integrity.json.

    Args:
        folder: what :mod:`pipeline.data.standardise` wrote.
        annotations: the split lists it was made with.
        verify_boxes: compare annotated boxes with the masks'; for archives of the original size.
        output: the JSON file: counts by split, what is missing, left out or repeated, and fingerprints.

    Raises:
        PipelineError: names the cases that are wrong.
    """
    facts = dataset_facts(dataset)
    cases = read_cases(folder / "cases.csv")
    provenance, prints = _read_provenance(folder)
    records = read_split_lists(annotations)
    _compare_lists(dataset, records, cases, provenance, prints)
    distinct = list({case.case: case for case in cases}.values())
    with ThreadPoolExecutor(threads) as pool:
        examined = pool.map(lambda case: _examine(folder, case), distinct)
        findings = {
            finding.case.case: finding for finding in track(examined, f"{dataset}: verifying", total=len(distinct))
        }
    problems = [f"{case}: {finding.problem}" for case, finding in findings.items() if finding.problem]
    _refuse(dataset, f"of {len(distinct)} cases are damaged", problems, f"Remove {folder} and standardise it again")
    _compare_folders(dataset, folder, distinct)
    boxes = _compare_boxes(dataset, cases, findings) if verify_boxes else None
    if prints.keys() != findings.keys():
        raise PipelineError(f"{folder}: provenance.json lists other cases than cases.csv; standardise it again")
    sums = {split: file_sha256(annotations / f"{split}.json") for split in SPLITS}
    pinned = facts.annotations is not None and sums == facts.annotations.sha256
    nearly_all = pinned and len(cases) >= COMPLETE * len(records)
    if facts.annotations:  # where lists are made of the archives, nothing says that one contrast prevails
        _compare_contents(dataset, findings, prints, facts.contrast if nearly_all else None)
    write_json(
        output,
        {
            "dataset": dataset,
            "split": provenance["split"],
            "records": {split: sum(record.split == split for record in records) for split in SPLITS},
            "cases": {split: sum(case.split == split for case in cases) for split in SPLITS},
            "empty_masks": [[case.split, case.case] for case in cases if not case.foreground],
            "missing": provenance["missing"],
            "dropped": provenance["dropped"],
            "moved": provenance["moved"],
            "repeated": repeated(records),
            "grey_images": provenance["grey_images"],
            "contradictions": _contradictions(dataset, distinct, prints),
            "boxes": boxes,
            "annotations_pinned": pinned,
            "annotations_sha256": sums,
            "fingerprints": provenance["fingerprints"],
        },
        indent=None,
    )
    proof = (
        f"boxes agree within {boxes['largest_difference']} px" if boxes and boxes["compared"] else "boxes not compared"
    )
    log(f"{dataset}: {len(cases)} records of {len(records)} intact; {proof}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="standardised dataset")
    parser.add_argument("--annotations", type=Path, required=True, help="folder with train.json, val.json, test.json")
    parser.add_argument(
        "--verify-boxes", type=json.loads, choices=(True, False), default=True, help="whether boxes are compared"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="integrity.json")
    verify(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_command(main)

"""Turn a dataset's archives into images/, masks/ (PNG, 0/255) and cases.csv, whole or not at all.

masks_reference/ has the masks that the reference reads in another way (:func:`pipeline.data.masks.read_as_reference`).
"""

import argparse
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.data.archives import Match, archive_sha256, find_archives, match_members
from pipeline.data.cases import Case, examples, write_cases
from pipeline.data.fingerprints import Fingerprint, fingerprint
from pipeline.data.images import ImageError, decode
from pipeline.data.leak_free import related, separate
from pipeline.data.masks import READ_AS_REFERENCE, read_as_reference, read_mask
from pipeline.data.members import ArchiveError
from pipeline.data.sources import SPLIT_VARIANTS, dataset_facts
from pipeline.data.splits import Record, deduplicate, read_split_lists
from pipeline.data.unpack import MAX_UNPACKED_BYTES, list_members, member_path, unpack
from pipeline.runtime.atomic import atomic_folder, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log, track

ORIENTATION = 0x0112
# Every reader reads files of these formats and modes as the same 8-bit image, so their bytes stay as they are.
KEPT_FORMATS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "TIFF": (".tif", ".tiff")}
KEPT_MODES = ("RGB", "L")


# zlib's strategy for run lengths is the fastest, and makes the smallest files of masks and photographs.
PNG = {"format": "PNG", "compress_level": 1, "compress_type": 3}


@dataclass
class Files:
    """The files of one case, unpacked, and what their names tell: its class, and its patient or sequence."""

    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    group: str = ""
    subject: str = ""


@dataclass
class Standardised:
    """What was made of one case: the columns of its rows that the files determine, and facts about its image."""

    columns: dict[str, Any]
    fingerprint: Fingerprint
    grey: bool
    encoded: bool
    turned: bool
    agreement: float = 1.0
    """DSC between the mask and the same as the reference reads it, 0..1."""


class CaseError(Exception):
    """What is wrong with one case; all such cases of a dataset are reported at once."""


def _open(path: Path, what: str, luma: bool = False) -> Image.Image:
    try:
        return decode(path, luma)
    except ImageError as error:
        raise CaseError(f"the {what} {path.name} {error}") from None


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data say, or itself."""
    turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
    return ImageOps.exif_transpose(image) if turned else image


def _standardise_image(source: Path, mask: Path, folder: Path, case: str) -> tuple[Path, tuple[int, int], Standardised]:
    """Put the image of ``case`` into ``folder``: its path there, its size (W, H), and all but the columns.

    It is turned as its EXIF data say, unless ``mask`` was drawn on it as it is stored.
    """
    with _open(source, "image") as image:
        pixels, suffix = _upright(image), source.suffix.lower()
        if pixels.size != image.size:
            with _open(mask, "mask") as drawn:
                pixels = image if _upright(drawn).size == image.size else pixels
        turned, grey = pixels is not image, image.mode in ("L", "1")
        kept = not turned and image.mode in KEPT_MODES and suffix in KEPT_FORMATS.get(image.format, ())
        target = folder / f"{case}{suffix if kept else '.png'}"
        if kept:
            source.replace(target)
        else:
            pixels = pixels.convert("L" if grey else "RGB")
            pixels.save(target, **PNG)
        return target, pixels.size, Standardised({}, fingerprint(pixels), grey, not kept, turned)


def _read_mask(source: Path, kind: str, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, str, bool]:
    """The foreground of one mask and that which the reference sees, bool (H, W), its class, and whether the file is
    just as masks are kept."""
    with _open(source, "mask") as image:
        turned = _upright(image)
        if turned.size != size:
            wrong, right = "x".join(map(str, turned.size)), "x".join(map(str, size))
            raise CaseError(f"the mask {source.name} is {wrong} pixels, its image {right}")
        try:
            foreground, group = read_mask(turned, kind)
        except ValueError as error:
            raise CaseError(f"the mask {source.name} is {error}") from None
        ready = image.format == "PNG" and image.mode == "L" and turned is image
        seen = foreground
        if kind in READ_AS_REFERENCE:
            seen = read_as_reference(_upright(_open(source, "mask", luma=True)) if image.format == "JPEG" else turned)
        kept = ready and np.array_equal(np.asarray(image), foreground.view(np.uint8) * np.uint8(255))
        return foreground, seen, group, kept


def _write_mask(foreground: np.ndarray, target: Path) -> None:
    Image.fromarray(foreground.view(np.uint8) * np.uint8(255)).save(target, **PNG)


def _standardise_mask(
    sources: Sequence[Path], kind: str, size: tuple[int, int], target: Path, reference: Path
) -> tuple[int, str, float]:
    """Write the union of a case's masks, and that which the reference sees if it differs, to ``reference``.

    Returns:
        How many foreground pixels there are, the class, and the DSC between the two.
    """
    if len({source.parent for source in sources}) > 1:
        raise CaseError(f"its masks {' and '.join('/'.join(s.parts[-2:]) for s in sources)} are in different folders")
    masks = [_read_mask(source, kind, size) for source in sources]
    merged, seen = (np.logical_or.reduce([mask[at] for mask in masks]) for at in (0, 1))
    if len(masks) == 1 and masks[0][3]:
        sources[0].replace(target)
    else:
        _write_mask(merged, target)
    count, agreement = int(np.count_nonzero(merged)), 1.0
    if not np.array_equal(seen, merged):
        _write_mask(seen, reference)
        agreement = 2 * int(np.count_nonzero(seen & merged)) / (int(np.count_nonzero(seen)) + count)
    groups = {group for _, _, group, _ in masks if group}
    return count, groups.pop() if len(groups) == 1 else "both" if groups else "", agreement


def _standardise_case(case: str, files: Files, kind: str, folder: Path) -> Standardised:
    """Write image and mask of one case."""
    image, size, done = _standardise_image(files.images[0], files.masks[0], folder / "images", case)
    mask, reference = (folder / name / f"{case}.png" for name in ("masks", "masks_reference"))
    foreground, group, done.agreement = _standardise_mask(files.masks, kind, size, mask, reference)
    done.columns |= {
        "image": image.name,
        "width": size[0],
        "height": size[1],
        "foreground": foreground,
        "image_sha256": file_sha256(image),
        "mask_sha256": file_sha256(mask),
        "reference_mask_sha256": file_sha256(reference) if reference.exists() else "",
        "group": files.group or group,
        "subject": files.subject,
    }
    return done


def _same(first: Sequence[Path], second: Sequence[Path]) -> bool:
    return [file_sha256(path) for path in first] == [file_sha256(path) for path in second]


def _match_archives(dataset: str, archives: Path) -> list[tuple[Path, dict[str, int], list[Match]]]:
    """Each archive with its members' declared bytes and the images and masks among them."""
    found = []
    for archive, path in find_archives(dataset, archives):
        members = list_members(path)
        found.append((path, members, match_members(dataset, archive, path, members)))
    return found


def _unpack_all(dataset: str, archives: Path, listed: set[str], folder: Path) -> tuple[dict[str, Files], set[str]]:
    """Unpack the files of the ``listed`` cases; files by case, and the cases that no list has.

    ISIC has cases in both the training and the test archive. Where those copies differ the later archive's is used, so
    that the test set is the published one.
    """
    facts = dataset_facts(dataset)
    found = _match_archives(dataset, archives)
    extra = {match.case for _, _, matches in found for match in matches} - listed
    wanted = [(path, members, [match for match in matches if match.case in listed]) for path, members, matches in found]
    declared = sum(members[match.member] for _, members, matches in wanted for match in matches)
    if declared > MAX_UNPACKED_BYTES:
        raise ArchiveError(
            f"{archives}: unpacks to {declared / 2**30:.3g} GiB, more than {MAX_UNPACKED_BYTES / 2**30:.3g} GiB"
        )
    cases: dict[str, Files] = {}
    left = MAX_UNPACKED_BYTES
    for index, (path, _, matches) in enumerate(wanted):
        target = folder / str(index)
        left -= unpack(path, target, [match.member for match in matches], left)
        own: dict[str, Files] = {}
        for match in matches:
            group, subject = facts.group.format_map(match.groups), facts.subject_of(match.case, match.groups)
            files = own.setdefault(match.case, Files(group=group, subject=subject))
            (files.images if match.role == "image" else files.masks).append(member_path(target, match.member))
        for case, files in own.items():
            files.masks.sort()
            if len(files.images) > 1:
                names = " and ".join(str(path.relative_to(target)) for path in files.images)
                raise ArchiveError(f"{dataset}: {path} has {len(files.images)} images of case {case}: {names}")
            known = cases.setdefault(case, Files(group=files.group, subject=files.subject))
            for role in ("images", "masks"):
                new, old = getattr(files, role), getattr(known, role)
                if new and old and not _same(new, old):
                    log(f"{dataset}: {case} is in two archives and differs; {role} of {path.name} are used")
                setattr(known, role, new or old)
    return cases, extra


def _present(
    dataset: str, records: Sequence[Record], cases: dict[str, Files], extra: set[str], allow_missing: int
) -> list[Record]:
    """The records that have image and mask; too many missing ones are an error."""
    lacking = {record.case: cases.get(record.case, Files()) for record in records}
    no_image = [case for case, files in lacking.items() if not files.images]
    no_mask = [case for case, files in lacking.items() if files.images and not files.masks]
    absent = {*no_image, *no_mask}
    present = [record for record in records if record.case not in absent]
    missing = len(records) - len(present)
    if not missing:
        return present
    parts = []
    if no_image:
        parts.append(f"no image for {len(no_image)} cases, e.g. {examples(no_image)}")
    if no_mask:
        parts.append(f"no mask for {len(no_mask)} cases, e.g. {examples(no_mask)}")
    if extra:
        parts.append(f"in the archives but in no list: {examples(sorted(extra))}")
    message = f"{dataset}: {missing} of {len(records)} records of the split lists missing: {'; '.join(parts)}"
    if missing > allow_missing:
        raise PipelineError(
            f"{message}. Fetch the official archives, or allow it with archives.allow_missing: "
            f"{{{dataset}: {missing}}} (now {allow_missing})"
        )
    log(f"{message}; allowed by the configuration")
    return present


def _standardise_cases(
    dataset: str, cases: dict[str, Files], names: Sequence[str], threads: int, folder: Path
) -> dict[str, Standardised]:
    """Write images and masks of the cases ``names``; all that cannot be used are named in one error."""
    kind = dataset_facts(dataset).mask_kind

    def work(case: str) -> Standardised | CaseError:
        try:
            return _standardise_case(case, cases[case], kind, folder)
        except CaseError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        results = list(track(pool.map(work, names), f"{dataset}: standardising", total=len(names)))
    wrong = [f"{case}: {result}" for case, result in zip(names, results, strict=True) if isinstance(result, CaseError)]
    if wrong:
        raise PipelineError(
            f"{dataset}: {len(wrong)} of {len(names)} cases cannot be used: {examples(wrong, '; ')}. "
            "Correct these files, or fetch the official archives again"
        )
    if names and not any(result.columns["foreground"] for result in results):
        raise PipelineError(f"{dataset}: all {len(names)} masks are empty. Fetch the official archives again")
    return dict(zip(names, results, strict=True))


def standardise(
    dataset: str, archives: Path, annotations: Path, split: str, allow_missing: int, threads: int, output: Path
) -> None:
    """Write ``output``/{images,masks,masks_reference,cases.csv,provenance.json}.

    Images keep their bytes if they are 8-bit RGB or grey JPEG, PNG or TIFF and upright; others (palette, rotated by
    EXIF) become PNG of the same pixels. Masks are binarised at 128 and several masks of a case merged.

    Args:
        dataset: key of the table of datasets.
        archives: folder with its archives, under any accepted name.
        annotations: folder with train.json, val.json, test.json.
        split: "published", "deduplicated" (see :func:`pipeline.data.splits.deduplicate`), or "leak_free", which is
            deduplicated and then as :mod:`pipeline.data.leak_free` says.
        allow_missing: records that may lack a file.
        threads: decoding threads.

    Raises:
        PipelineError: files are missing, damaged or contradict each other; names the cases and the fix.
    """
    records = read_split_lists(annotations)
    with atomic_folder(output) as folder:
        unpacked = folder / "unpacked"
        for path in (unpacked, *(folder / name for name in ("images", "masks", "masks_reference"))):
            path.mkdir()
        try:
            cases, extra = _unpack_all(dataset, archives, {record.case for record in records}, unpacked)
        except ArchiveError as error:
            raise PipelineError(
                f"{error}; put the right archive into archives.folder or leave that to the download, remove the folder "
                f"{archives} and run again"
            ) from None
        present = _present(dataset, records, cases, extra, allow_missing)
        kept, dropped = (present, []) if split == "published" else deduplicate(present)
        done = _standardise_cases(dataset, cases, list(dict.fromkeys(r.case for r in kept)), threads, folder)
        shutil.rmtree(unpacked)
        before = {r.case: r.split for r in kept}
        if split == "leak_free":
            prints = {case: result.fingerprint for case, result in done.items()}
            subjects = {case: result.columns["subject"] for case, result in done.items()}
            kept = separate(kept, related(prints, subjects, bool(dataset_facts(dataset).sequences)))
        moved = [[r.case, before[r.case], r.split] for r in kept if split == "leak_free" and r.split != before[r.case]]
        write_cases(
            folder / "cases.csv",
            [
                Case(r.case, r.split, bbox=list(r.bbox) if r.bbox else None, prompts=r.prompts, **done[r.case].columns)
                for r in kept
            ],
        )
        agreement = [result.agreement for result in done.values() if result.columns["reference_mask_sha256"]]
        reference = {"cases": len(agreement), "mean_dsc": float(np.mean(agreement)) if agreement else None}
        gone = {(r.split, r.case) for r in records} - {(r.split, r.case) for r in present}
        provenance = {
            "dataset": dataset,
            "split": split,
            "archives": {path.name: archive_sha256(path) for _, path in find_archives(dataset, archives)},
            "records": len(records),
            "missing": [[r.split, r.case] for r in records if (r.split, r.case) in gone],
            "dropped": [[r.split, r.case] for r in dropped],
            "moved": moved,
            "reference_masks": reference,
            "encoded_anew": sum(result.encoded for result in done.values()),
            "turned_by_exif": [case for case, result in done.items() if result.turned],
            "grey_images": [case for case, result in done.items() if result.grey],
            "fingerprints": {case: result.fingerprint.to_json() for case, result in done.items()},
        }
        write_json(folder / "provenance.json", provenance, indent=None)
    for record in dropped:
        log(f"{dataset}: left {record.case} out of {record.split}: it is in a later split, or listed before")
    if moved:
        log(f"{dataset}: {len(moved)} cases are in another split than the published one, to keep related ones together")
    if turned := provenance["turned_by_exif"]:
        log(f"{dataset}: turned {len(turned)} images as their EXIF data say: {examples(turned)}")
    if agreement:
        log(
            f"{dataset}: the reference sees other masks in {len(agreement)} cases, by noise of JPEG; mean DSC between "
            f"the two {100 * reference['mean_dsc']:.2f}%"
        )
    encoded = provenance["encoded_anew"]
    log(f"{dataset}: {len(kept)} records of {len(records)}, {len(done)} cases, {encoded} encoded as PNG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--archives", type=Path, required=True, help="folder with the dataset's archives")
    parser.add_argument("--annotations", type=Path, required=True, help="folder with train.json, val.json, test.json")
    parser.add_argument("--split", choices=SPLIT_VARIANTS, default="published")
    parser.add_argument("--allow-missing", type=int, default=0, help="records that may be missing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder of the standardised dataset")
    standardise(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_command(main)

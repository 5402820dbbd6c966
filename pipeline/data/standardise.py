"""Turn a dataset's archives into images/, masks/ (PNG, 0/255) and cases.csv, whole or not at all."""

import argparse
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.archives import archive_sha256, find_archives, match_members
from pipeline.data.cases import Case, examples, write_cases
from pipeline.data.masks import read_mask
from pipeline.data.members import ArchiveError
from pipeline.data.sources import dataset_facts
from pipeline.data.splits import Record, deduplicate, read_split_lists
from pipeline.data.unpack import MAX_UNPACKED_BYTES, list_members, member_path, unpack
from pipeline.runtime.atomic import atomic_folder, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log, track

ORIENTATION = 0x0112
# Every reader reads files of these formats and modes as the same 8-bit image, so their bytes stay as they are.
KEPT_FORMATS = {"JPEG": (".jpg", ".jpeg"), "PNG": (".png",)}
KEPT_MODES = ("RGB", "L")
CONVERTIBLE_MODES = ("RGB", "L", "1", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr")


@dataclass
class Files:
    """The files of one case, unpacked, and the class in their names."""

    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    group: str = ""


class CaseError(Exception):
    """What is wrong with one case; all such cases of a dataset are reported at once."""


def _open(path: Path, what: str) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
        return image
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise CaseError(f"the {what} {path.name} does not decode ({reason})") from None


def _place_image(source: Path, folder: Path, case: str) -> tuple[Path, tuple[int, int], bool]:
    """Put the image of ``case`` into ``folder``: its path there, its size (W, H), whether it was encoded again."""
    with _open(source, "image") as image:
        if image.mode not in CONVERTIBLE_MODES:
            raise CaseError(f"the image {source.name} has Pillow mode {image.mode}, not 8 bits a channel")
        suffix = source.suffix.lower()
        upright = image.getexif().get(ORIENTATION, 1) in (0, 1)
        if upright and image.mode in KEPT_MODES and suffix in KEPT_FORMATS.get(image.format, ()):
            target = folder / f"{case}{suffix}"
            source.replace(target)
            return target, image.size, False
        target = folder / f"{case}.png"
        turned = ImageOps.exif_transpose(image).convert("L" if image.mode in ("L", "1") else "RGB")
        turned.save(target, format="PNG", compress_level=1)
        return target, turned.size, True


def _merge_masks(sources: Sequence[Path], kind: str, size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """The union of a case's masks, bool (H, W), and their class."""
    merged = np.zeros((size[1], size[0]), dtype=bool)
    groups = set()
    for source in sources:
        with _open(source, "mask") as image:
            turned = ImageOps.exif_transpose(image)
            if turned.size != size:
                wrong, right = "x".join(map(str, turned.size)), "x".join(map(str, size))
                raise CaseError(f"the mask {source.name} is {wrong} pixels, its image {right}")
            try:
                foreground, group = read_mask(turned, kind)
            except ValueError as error:
                raise CaseError(f"the mask {source.name} is {error}") from None
        merged |= foreground
        groups.add(group)
    groups.discard("")
    return merged, groups.pop() if len(groups) == 1 else "both" if groups else ""


def _standardise_case(case: str, files: Files, kind: str, images: Path, masks: Path) -> tuple[dict, bool]:
    """Write image and mask of one case; the columns of its rows that the files determine, and whether re-encoded."""
    image, size, converted = _place_image(files.images[0], images, case)
    foreground, group = _merge_masks(files.masks, kind, size)
    mask = masks / f"{case}.png"
    Image.fromarray(foreground.astype(np.uint8) * 255).save(mask, format="PNG", compress_level=6)
    return {
        "image": image.name,
        "width": size[0],
        "height": size[1],
        "foreground": int(np.count_nonzero(foreground)),
        "image_sha256": file_sha256(image),
        "mask_sha256": file_sha256(mask),
        "group": files.group or group,
    }, converted


def _same(first: Sequence[Path], second: Sequence[Path]) -> bool:
    return [file_sha256(path) for path in first] == [file_sha256(path) for path in second]


def _unpack_all(dataset: str, archives: Path, folder: Path) -> tuple[dict[str, Files], dict[str, str]]:
    """Unpack what the layouts name; files by case, and the SHA-256 of each archive.

    ISIC has cases in both the training and the test archive. Where those copies differ the later archive's is used, so
    that the test set is the published one.
    """
    facts = dataset_facts(dataset)
    cases: dict[str, Files] = {}
    hashes = {}
    left = MAX_UNPACKED_BYTES
    for index, (archive, path) in enumerate(find_archives(dataset, archives)):
        matches = match_members(dataset, archive, path, list_members(path))
        target = folder / str(index)
        left -= unpack(path, target, [match.member for match in matches], left)
        hashes[path.name] = archive_sha256(path)
        own: dict[str, Files] = {}
        for match in matches:
            files = own.setdefault(match.case, Files(group=facts.group.format_map(match.groups)))
            (files.images if match.role == "image" else files.masks).append(member_path(target, match.member))
        for case, files in own.items():
            files.masks.sort()
            if len(files.images) > 1:
                names = " and ".join(str(path.relative_to(target)) for path in files.images)
                raise PipelineError(f"{dataset}: {path} has {len(files.images)} images of case {case}: {names}")
            known = cases.setdefault(case, Files(group=files.group))
            for role in ("images", "masks"):
                new, old = getattr(files, role), getattr(known, role)
                if new and old and not _same(new, old):
                    log(f"{dataset}: {case} is in two archives and differs; {role} of {path.name} are used")
                setattr(known, role, new or old)
    return cases, hashes


def _present(dataset: str, records: Sequence[Record], cases: dict[str, Files], allow_missing: int) -> list[Record]:
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
    listed = {record.case for record in records}
    extra = sorted(case for case in cases if case not in listed)
    if extra:
        parts.append(f"in the archives but in no list: {examples(extra)}")
    message = f"{dataset}: {missing} of {len(records)} records of the split lists missing: {'; '.join(parts)}"
    if missing > allow_missing:
        raise PipelineError(
            f"{message}. Fetch the official archives, or allow it with archives.allow_missing: "
            f"{{{dataset}: {missing}}} (now {allow_missing})"
        )
    log(f"{message}; allowed by the configuration")
    return present


def standardise(
    dataset: str, archives: Path, annotations: Path, split: str, allow_missing: int, threads: int, output: Path
) -> None:
    """Write ``output``/{images,masks,cases.csv,provenance.json}.

    Images keep their bytes if they are 8-bit RGB or grey JPEG or PNG and stand upright; others (TIFF, palette, rotated
    by EXIF) become PNG of the same pixels. Masks are binarised at 128 and several masks of a case merged.

    Args:
        dataset: key of the table of datasets.
        archives: folder with its archives, under any accepted name.
        annotations: folder with train.json, val.json, test.json.
        split: "published", or "deduplicated" (see :func:`pipeline.data.splits.deduplicate`).
        allow_missing: records that may lack a file.
        threads: decoding threads.

    Raises:
        PipelineError: files are missing, damaged or contradict each other; names the cases and what to do.
    """
    facts = dataset_facts(dataset)
    records = read_split_lists(annotations)
    with atomic_folder(output) as folder:
        unpacked, images, masks = folder / "unpacked", folder / "images", folder / "masks"
        for path in (unpacked, images, masks):
            path.mkdir()
        try:
            cases, hashes = _unpack_all(dataset, archives, unpacked)
        except ArchiveError as error:
            raise PipelineError(f"{error}; remove {archives} and fetch the right archive") from None
        present = _present(dataset, records, cases, allow_missing)
        kept, dropped = deduplicate(present) if split == "deduplicated" else (present, [])
        names = list(dict.fromkeys(record.case for record in kept))
        done: dict[str, dict] = {}
        converted, wrong = [], []

        def work(case: str) -> tuple[str, tuple[dict, bool] | CaseError]:
            try:
                return case, _standardise_case(case, cases[case], facts.mask_kind, images, masks)
            except CaseError as error:
                return case, error

        with ThreadPoolExecutor(threads) as pool:
            for case, result in track(pool.map(work, names), f"{dataset}: standardising", total=len(names)):
                if isinstance(result, CaseError):
                    wrong.append(f"{case}: {result}")
                else:
                    done[case], encoded = result
                    converted += [case] if encoded else []
        if wrong:
            raise PipelineError(
                f"{dataset}: {len(wrong)} of {len(names)} cases cannot be used: {examples(wrong, '; ')}. "
                "Fetch the official archives again"
            )
        shutil.rmtree(unpacked)
        write_cases(
            folder / "cases.csv",
            [
                Case(
                    case=r.case, split=r.split, bbox=list(r.bbox) if r.bbox else None, prompts=r.prompts, **done[r.case]
                )
                for r in kept
            ],
        )
        gone = {(record.case, record.split) for record in records} - {(r.case, r.split) for r in present}
        provenance = {
            "dataset": dataset,
            "split": split,
            "archives": hashes,
            "records": len(records),
            "missing": [[r.split, r.case] for r in records if (r.case, r.split) in gone],
            "dropped": [[r.split, r.case] for r in dropped],
            "encoded_anew": len(converted),
        }
        write_json(folder / "provenance.json", provenance)
    for record in dropped:
        log(f"{dataset}: left {record.case} out of {record.split}: it is in a later split, or listed before")
    log(f"{dataset}: {len(kept)} records of {len(records)}, {len(names)} cases, {len(converted)} encoded as PNG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--archives", type=Path, required=True, help="folder with the dataset's archives")
    parser.add_argument("--annotations", type=Path, required=True, help="folder with train.json, val.json, test.json")
    parser.add_argument("--split", choices=("published", "deduplicated"), default="published")
    parser.add_argument("--allow-missing", type=int, default=0, help="records that may be missing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True, help="folder of the standardised dataset")
    arguments = parser.parse_args()
    standardise(
        arguments.dataset,
        arguments.archives,
        arguments.annotations,
        arguments.split,
        arguments.allow_missing,
        arguments.threads,
        arguments.output,
    )


if __name__ == "__main__":
    run_command(main)

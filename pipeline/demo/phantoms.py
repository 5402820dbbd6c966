"""Make phantom archives and split lists for the demo, in the real archives' layout and under their file names.

OUTPUT/archives/* and OUTPUT/annotations/{list}/{train,val,test}.json, but no lists of Oxford-IIIT Pet, whose archives
have what they are made of. The same seed and sizes give the same bytes.
"""

import argparse
import gzip
import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from pipeline.data.sources import SPLITS, dataset_facts
from pipeline.demo.phantom_images import (
    BREEDS,
    another_frame,
    draw_bkai,
    draw_busi,
    draw_clinicdb,
    draw_isic,
    draw_kvasir,
    draw_pet,
)
from pipeline.demo.phantom_prompts import record
from pipeline.runtime.atomic import atomic_folder, write_text
from pipeline.runtime.errors import run_command
from pipeline.runtime.progress import log, track

FRAMES = 612
"""Of the original CVC-ClinicDB."""
# Zip archives hold times of their members; a fixed one keeps them reproducible.
MEMBER_TIME = (2020, 1, 1, 0, 0, 0)

Member = tuple[str, str, bytes]  # archive, path in it, content
Entry = dict[str, Any]  # a record of a split list


def _encoded(image: np.ndarray, encoding: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, encoding, **options)
    return buffer.getvalue()


def _grey(mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 255, 0).astype(np.uint8)


def _unique(rng: Generator, alphabet: str, length: int, count: int, prefix: str = "") -> list[str]:
    letters = np.array(list(alphabet))
    names: dict[str, None] = {}
    while len(names) < count:
        names[prefix + "".join(letters[rng.integers(len(letters), size=length)])] = None
    return list(names)


# Each of these makes a case for every one of ``splits``, in their order: its files, and the arguments of its record.


def _kvasir(rng: Generator, splits: list[str]) -> Iterator[tuple[list[Member], tuple]]:
    for name in _unique(rng, "0123456789abcdefghijklmnopqrstuvwxyz", 22, len(splits), "cju"):
        phantom = draw_kvasir(rng)
        # The masks of the original are JPEGs with three channels: their edges are lossy.
        mask = np.repeat(_grey(phantom.mask)[..., None], 3, axis=2)
        files = [
            ("kvasir-seg.zip", f"Kvasir-SEG/images/{name}.jpg", _encoded(phantom.image, "JPEG", quality=90)),
            ("kvasir-seg.zip", f"Kvasir-SEG/masks/{name}.jpg", _encoded(mask, "JPEG", quality=75)),
        ]
        yield files, ("polyp", name, f"{name}.jpg", f"{name}.jpg", phantom)


def _clinicdb(rng: Generator, splits: list[str]) -> Iterator[tuple[list[Member], tuple]]:
    # Frames of the original's sequences, so that neighbours are on both sides of the splits as there.
    facts, scenes = dataset_facts("clinicdb"), {}
    for frame in rng.choice(max(FRAMES, len(splits)), len(splits), replace=False) + 1:
        sequence = facts.subject_of(str(frame), {})
        phantom = another_frame(rng, scenes[sequence]) if sequence in scenes else draw_clinicdb(rng)
        scenes.setdefault(sequence, phantom)
        files = [
            ("CVC-ClinicDB.zip", f"CVC-ClinicDB/Original/{frame}.tif", _encoded(phantom.image, "TIFF")),
            ("CVC-ClinicDB.zip", f"CVC-ClinicDB/Ground Truth/{frame}.tif", _encoded(_grey(phantom.mask), "TIFF")),
        ]
        # The lists name PNGs, the archive holds TIFFs.
        yield files, ("polyp", str(frame), f"{frame}.png", f"{frame}.png", phantom)


def _bkai(rng: Generator, splits: list[str]) -> Iterator[tuple[list[Member], tuple]]:
    archive = "bkai-igh-neopolyp.zip"
    for name in _unique(rng, "0123456789abcdef", 32, len(splits)):
        phantom = draw_bkai(rng)
        mask = np.zeros_like(phantom.image)
        for own, group in zip(phantom.masks, phantom.groups, strict=True):
            mask[own] = (255, 0, 0) if group == "neoplastic" else (0, 255, 0)
        files = [
            (archive, f"train/train/{name}.jpeg", _encoded(phantom.image, "JPEG", quality=90)),
            (archive, f"train_gt/train_gt/{name}.jpeg", _encoded(mask, "JPEG", quality=85, subsampling=0)),
        ]
        yield files, ("polyp", name, f"{name}.jpeg", f"{name}.jpeg", phantom)


def _isic(rng: Generator, splits: list[str]) -> Iterator[tuple[list[Member], tuple]]:
    for split, identifier in zip(splits, rng.choice(11_400, len(splits), replace=False), strict=True):
        phantom = draw_isic(rng)
        name = f"ISIC_{identifier:07d}"
        part = f"ISBI2016_ISIC_Part1_{'Test' if split == 'test' else 'Training'}"
        image, mask = f"{name}.jpg", f"{name}_Segmentation.png"
        files = [
            (f"{part}_Data.zip", f"{part}_Data/{image}", _encoded(phantom.image, "JPEG", quality=90)),
            (f"{part}_GroundTruth.zip", f"{part}_GroundTruth/{mask}", _encoded(_grey(phantom.mask), "PNG")),
        ]
        yield files, ("skin lesion", name, image, mask, phantom)


def _busi_groups(rng: Generator, size: int) -> list[str]:
    """Classes in the proportions of the original: 17% normal, 27% malignant, the rest benign."""
    normal, malignant = round(0.17 * size), round(0.27 * size)
    groups = ["normal"] * normal + ["malignant"] * malignant + ["benign"] * (size - normal - malignant)
    return [groups[index] for index in rng.permutation(size)]


def _busi(rng: Generator, splits: list[str]) -> Iterator[tuple[list[Member], tuple]]:
    archive, counts = "Dataset_BUSI.zip", Counter()
    for group in [group for split in SPLITS for group in _busi_groups(rng, splits.count(split))]:
        counts[group] += 1
        count = counts[group]
        # Every eighth benign scan, from the second one on, has two masses and so two mask files.
        phantom = draw_busi(rng, group, two=group == "benign" and count % 8 == 2)
        stem = f"Dataset_BUSI_with_GT/{group}/{group} ({count})"
        files = [(archive, f"{stem}.png", _encoded(phantom.image, "PNG"))]
        for index, mask in enumerate(phantom.masks or [phantom.mask]):
            suffix = f"_mask_{index}" if index else "_mask"
            files.append((archive, f"{stem}{suffix}.png", _encoded(_grey(mask), "PNG")))
        name = f"{count}_{group}"
        yield files, ("scan", name, f"{name}.png", f"{name}.png", phantom)


# What makes the cases of each folder of split lists, as the published ones are called.
DATASETS = {"kvasir_polyp": _kvasir, "clinicdb_polyp": _clinicdb, "bkai_polyp": _bkai, "isic": _isic, "busi": _busi}


def draw_cases(name: str, rng: Generator, sizes: dict[str, int]) -> Iterator[tuple[str, list[Member], Entry]]:
    """Split, files and record of each case of one of :data:`DATASETS`, ``sizes[split]`` in each split."""
    splits = [split for split in SPLITS for _ in range(sizes[split])]
    for number, (split, (files, case)) in enumerate(zip(splits, DATASETS[name](rng, splits), strict=True)):
        yield split, files, record(number, *case)


def _pets(rng: Generator, sizes: dict[str, int]) -> dict[str, dict[str, bytes]]:
    """Members of the two archives of Oxford-IIIT Pet: images; trimaps, lists, and the litter that macOS left there."""
    images, annotations = {}, {}
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    breeds, counts = list(BREEDS), Counter()
    for name, size in (("trainval", sizes["train"] + sizes["val"]), ("test", sizes["test"])):
        for _ in track(range(size), f"phantoms, pets, {name}", total=size):
            at = int(rng.integers(len(breeds)))
            breed, counts[at] = breeds[at], counts[at] + 1
            case, species = f"{breed}_{counts[at]}", BREEDS[breed][0]
            phantom = draw_pet(rng, breed)
            border = binary_dilation(phantom.mask, iterations=2) & ~binary_erosion(phantom.mask, iterations=2)
            trimap = np.where(border, 3, np.where(phantom.mask, 1, 2)).astype(np.uint8)
            images[f"images/{case}.jpg"] = _encoded(phantom.image, "JPEG", quality=90)
            annotations[f"annotations/trimaps/{case}.png"] = _encoded(trimap, "PNG")
            annotations[f"annotations/trimaps/._{case}.png"] = b"\0"
            lists[name].append(f"{case} {at + 1} {1 if species == 'cat' else 2} 1")
    annotations |= {f"annotations/{name}.txt": "\n".join([*lines, ""]).encode() for name, lines in lists.items()}
    return {"images.tar.gz": images, "annotations.tar.gz": annotations}


def _write_tar(path: Path, members: dict[str, bytes]) -> None:
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _write_archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, MEMBER_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)


def make_phantoms(output: str | Path, sizes: dict[str, int], seed: int) -> None:
    """Write the archives and split lists of all datasets to ``output``, which appears whole or not at all.

    Args:
        sizes: cases of each dataset in ``train``, ``val`` and ``test``, each at least 1.
        seed: the same one gives the same bytes.
    """
    archives: dict[str, dict[str, bytes]] = {}
    lists: dict[str, dict[str, list[Entry]]] = {}
    for index, name in enumerate(DATASETS):
        lists[name] = {split: [] for split in SPLITS}
        cases = draw_cases(name, np.random.default_rng((seed, index)), sizes)
        for split, files, entry in track(cases, f"phantoms, {name}", total=sum(sizes.values())):
            lists[name][split].append(entry)
            for archive, path, content in files:
                archives.setdefault(archive, {})[path] = content
    pets = _pets(np.random.default_rng((seed, len(DATASETS))), sizes)
    with atomic_folder(output) as folder:
        (folder / "archives").mkdir()
        for name, members in pets.items():
            _write_tar(folder / "archives" / name, members)
        for name, members in archives.items():
            _write_archive(folder / "archives" / name, members)
        for name, splits in lists.items():
            for split, entries in splits.items():
                write_text(folder / "annotations" / name / f"{split}.json", json.dumps(entries))
    log(f"{output}: archives of {sum(sizes.values())} cases in each of {len(lists) + 1} datasets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, required=True, help="training cases of each dataset")
    parser.add_argument("--val", type=int, required=True, help="validation cases")
    parser.add_argument("--test", type=int, required=True, help="test cases")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder for archives/ and annotations/")
    arguments = parser.parse_args()
    make_phantoms(arguments.output, {split: getattr(arguments, split) for split in SPLITS}, arguments.seed)


if __name__ == "__main__":
    run_command(main)

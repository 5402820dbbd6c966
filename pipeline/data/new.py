"""Take a dataset of one's own into the study: its archive, its entry in the table of datasets, checks, and overlays.

    python -m pipeline.data.new NAME --images DIR --masks DIR --target polyp [--organ colon] [--patients patients.csv]

Images and masks belong together by their files' names; a mask's may end in _mask, _seg, _segmentation or _gt. Written
are ARCHIVES/NAME.zip, an entry in workflow/resources/datasets.yaml, workflow/config/NAME.yaml (a study of the dataset
alone) and ARCHIVES/NAME.png, eight masks on their images, to be looked at. If a file cannot be used, nothing is.
"""

import argparse
import csv
import io
import re
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from pipeline.data import sources
from pipeline.data.cases import examples, read_cases
from pipeline.data.images import ImageError, decode
from pipeline.data.integrity import verify
from pipeline.data.overlays import overlay, sheet
from pipeline.data.own_lists import make_lists
from pipeline.data.sources import SPLITS, MadeLists
from pipeline.data.standardise import standardise
from pipeline.runtime.atomic import atomic_path, write_text
from pipeline.runtime.code import ROOT
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log, track

ENDINGS = re.compile(r"[-_ ](mask|seg|segmentation|gt)$", re.IGNORECASE)
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NAME = re.compile(r"[a-z][a-z0-9_]*")
SHOWN, COLUMNS, SIDE = 8, 4, 320
CONFIG = ROOT / "config.yaml"
STUDY = """# A study of the dataset {name} alone, made by pipeline.data.new:
#   snakemake all --cores 8 --configfile workflow/config/{name}.yaml
results: results/{name}
datasets: [{name}]
archives: {{ folder: {folder}, official: false, description: images of one's own }}
# The main table alone; a family whose line is taken out is trained, too.
# How many trainings: python -m pipeline.plan config.yaml workflow/config/{name}.yaml
transfer: null
joint: null
leaks: null
test_time: null
{ablations}"""


def _by_stem(folder: Path, what: str) -> dict[str, Path]:
    """The picture files of ``folder`` by name without ending."""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder; give the one that has the {what}")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    stems = [ENDINGS.sub("", path.stem) if what == "masks" else path.stem for path in paths]
    if not paths:
        raise PipelineError(f"{folder}: has no {what} ({', '.join(SUFFIXES)})")
    if twice := [stem for stem, count in Counter(stems).items() if count > 1]:
        raise PipelineError(f"{folder}: several {what} of one name: {examples(twice)}; keep one of each")
    return dict(zip(stems, paths, strict=True))


def pair(images: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Image and mask by case.

    Raises:
        PipelineError: some have no partner; says which.
    """
    first, second = _by_stem(images, "images"), _by_stem(masks, "masks")
    for here, there, folder, what in ((first, second, images, "mask"), (second, first, masks, "image")):
        if alone := [path.name for stem, path in here.items() if stem not in there]:
            raise PipelineError(
                f"{folder}: {len(alone)} of {len(here)} files have no {what} of their name: {examples(alone)}; add "
                f"{'them' if len(alone) > 1 else 'it'}, or take these files out"
            )
    return {stem: (path, second[stem]) for stem, path in first.items()}


def read_patients(table: Path, cases: list[str]) -> dict[str, str]:
    """The patient of each case, from the columns ``image`` (with or without ending) and ``patient``.

    Raises:
        PipelineError: the table cannot be read, or a case is not in it.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
        patients = {Path(row["image"].strip()).stem: row["patient"].strip() for row in rows}
    except (OSError, UnicodeError, csv.Error, KeyError, AttributeError) as error:
        raise PipelineError(f"{table}: cannot be used ({error!r}); it needs the columns image and patient") from None
    if unknown := [case for case in cases if not patients.get(case)]:
        raise PipelineError(f"{table}: no patient for {len(unknown)} images, e.g. {examples(unknown)}; add them")
    return patients


def _mask_bytes(path: Path) -> bytes:
    """A mask's file; one of two levels, the lower 0 and the higher too dark to be white, as black and white."""
    try:
        image = decode(path)
    except ImageError as error:
        raise PipelineError(f"{path} {error}") from None
    levels = np.asarray(image)
    found = np.unique(levels)
    if image.mode not in ("L", "P") or len(found) > 2 or found[0] != 0 or not 0 < found[-1] < 128:
        return path.read_bytes()
    file = io.BytesIO()
    Image.fromarray(np.where(levels > 0, 255, 0).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def _write_archive(target: Path, pairs: dict[str, tuple[Path, Path]], patients: dict[str, str]) -> None:
    groups = {name: f"{number:05d}" for number, name in enumerate(sorted(set(patients.values())), 1)}
    with atomic_path(target) as path, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for case, (image, mask) in track(pairs.items(), f"{target.name}: packing", len(pairs)):
            folder = f"{groups[patients[case]]}/" if patients else ""
            archive.write(image, f"images/{folder}{case}{image.suffix.lower()}")
            archive.writestr(f"masks/{folder}{case}.png", _mask_bytes(mask))


def entry(name: str, title: str, lists: MadeLists, patients: bool) -> str:
    """The text of the entry in the table of datasets."""
    folder, suffixes = r"(?P<patient>\d+)/" if patients else "", "|".join(suffix[1:] for suffix in SUFFIXES)
    layout = {
        "image": rf"(?:^|/)images/{folder}(?P<case>[^/]+)\.(?:{suffixes})$",
        "mask": rf"(?:^|/)masks/{folder}(?P<case>[^/]+)\.png$",
    }
    content = {
        "title": title,
        "version": "1",
        "homepage": "none",
        "licence": "not public",
        "citation": "unpublished",
        "archives": [{"name": f"{name}.zip", "layouts": [layout]}],
        **({"subject": "{patient}"} if patients else {}),
        "lists": lists.model_dump(exclude_defaults=True),
    }
    text = yaml.safe_dump({name: content}, sort_keys=False, allow_unicode=True, width=110)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _check(name: str, archives: Path, picture: Path) -> dict[str, int]:
    """Do what the workflow does with the dataset, draw overlays, and count cases by split."""
    with tempfile.TemporaryDirectory(dir=archives) as folder:
        lists, dataset = Path(folder, "lists"), Path(folder, "dataset")
        make_lists(name, archives, 2, lists)
        standardise(name, archives, lists, "published", 0, 2, dataset)
        verify(name, dataset, lists, False, 2, dataset / "integrity.json")
        cases = read_cases(dataset / "cases.csv")
        drawn = []
        for case in cases[:: max(1, len(cases) // SHOWN)][:SHOWN]:
            image, mask = decode(dataset / "images" / case.image), decode(dataset / "masks" / case.mask)
            drawn.append(overlay(np.asarray(image.convert("RGB")), np.asarray(mask) > 0))
        with atomic_path(picture) as path:
            sheet(drawn, COLUMNS, SIDE).save(path, "PNG")
    return {split: sum(case.split == split for case in cases) for split in SPLITS}


def new(options: argparse.Namespace) -> None:
    """Take the dataset in.

    Raises:
        PipelineError: the name is taken, or something is wrong with the files; the table is then as it was.
    """
    name, archives = options.name, options.archives
    if not NAME.fullmatch(name):
        raise PipelineError(f"{name}: a dataset's name has small letters, digits and _ alone, and starts with a letter")
    if name in sources.ALL_DATASETS:
        raise PipelineError(
            f"{name}: {sources.TABLE} has a dataset of this name; choose another, or take its entry out"
        )
    shares = {split: getattr(options, split) for split in ("val", "test")}
    try:
        lists = MadeLists(target=options.target, organ=options.organ, seed=options.seed, **shares)
    except ValueError as error:
        reasons = (f"--{'.'.join(map(str, item['loc'])) or 'val'}: {item['msg']}" for item in error.errors())
        raise PipelineError("; ".join(reasons)) from None
    pairs = pair(options.images, options.masks)
    patients = read_patients(options.patients, list(pairs)) if options.patients else {}
    archive, picture, study = archives / f"{name}.zip", archives / f"{name}.png", options.configs / f"{name}.yaml"
    if taken := [str(path) for path in (archive, study) if path.exists()]:
        raise PipelineError(f"{taken[0]}: is there already; choose another name, or take it away")
    archives.mkdir(parents=True, exist_ok=True)
    _write_archive(archive, pairs, patients)
    before = sources.TABLE.read_text(encoding="utf-8")
    title = options.title or name.replace("_", " ").capitalize()
    write_text(sources.TABLE, f"{before.rstrip()}\n\n{entry(name, title, lists, bool(patients))}")
    try:
        sources.table.cache_clear()
        counts = _check(name, archives, picture)
    except BaseException:
        write_text(sources.TABLE, before)
        archive.unlink()
        raise
    finally:
        sources.table.cache_clear()
    families = yaml.safe_load(CONFIG.read_text(encoding="utf-8")).get("ablations") or {}
    ablations = yaml.safe_dump({"ablations": dict.fromkeys(families)}, sort_keys=False)
    write_text(study, STUDY.format(name=name, folder=archives, ablations=ablations))
    log(f"{name}: {', '.join(f'{count} {split}' for split, count in counts.items())} cases; look at {picture}")
    log(f"next: snakemake all --cores 8 --configfile {study}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="key of the dataset: small letters, digits, _")
    parser.add_argument("--images", type=Path, required=True, help="folder of images, 8 bits a channel")
    parser.add_argument("--masks", type=Path, required=True, help="folder of black and white masks")
    parser.add_argument("--target", required=True, help="what masks mark, for prompts: polyp")
    parser.add_argument("--organ", default="", help="where it is, for prompts: colon")
    parser.add_argument("--title", help="name in tables and figures; from NAME if absent")
    parser.add_argument(
        "--patients", type=Path, help="CSV with the columns image and patient: patients stay in one split"
    )
    parser.add_argument("--val", type=float, default=0.1, help="share of the cases that validate (0.1)")
    parser.add_argument("--test", type=float, default=0.2, help="share of the cases that test (0.2)")
    parser.add_argument("--seed", type=int, default=41, help="decides which (41)")
    parser.add_argument("--archives", type=Path, default=Path("archives"), help="folder for the archive (archives)")
    parser.add_argument("--configs", type=Path, default=Path("workflow/config"), help="folder for the study's file")
    new(parser.parse_args())


if __name__ == "__main__":
    run_command(main)

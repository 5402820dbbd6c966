"""Taking in a dataset of one's own: what is written, and mistakes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from data_support import encode
from PIL import Image

from pipeline.config import read_study
from pipeline.data import new, sources
from pipeline.data.own_lists import make_lists
from pipeline.data.sources import dataset_facts
from pipeline.data.splits import read_split_lists
from pipeline.runtime.errors import PipelineError


def draw(folder: Path, count: int = 12, levels: tuple[int, int] = (0, 255)) -> None:
    """Images with a bright square each, and its masks, in ``folder``/images and masks."""
    generator = np.random.default_rng(7)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for index in range(count):
        pixels, mask = generator.integers(0, 99, (40, 48, 3), dtype=np.uint8), np.full((40, 48), levels[0], np.uint8)
        top, left = generator.integers(2, 25, 2)
        pixels[top : top + 10, left : left + 12] += 120
        mask[top : top + 10, left : left + 12] = levels[1]
        Image.fromarray(pixels).save(folder / f"images/scan {index}.png")
        Image.fromarray(mask).save(folder / f"masks/scan {index}_mask.png")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls the command with files below ``tmp_path`` and a copy of the table of datasets."""
    table = shutil.copy(sources.TABLE, tmp_path / "datasets.yaml")
    monkeypatch.setattr(sources, "TABLE", Path(table))
    monkeypatch.chdir(tmp_path)

    def run(*words: str, name: str = "specimen") -> None:
        arguments = ["new", name, "--images", "images", "--masks", "masks", "--target", "polyp", "--configs", "."]
        monkeypatch.setattr("sys.argv", arguments + list(words))
        new.main()

    sources.table.cache_clear()
    yield run
    sources.table.cache_clear()


@pytest.mark.parametrize("levels", [(0, 255), (0, 1)])
def test_what_is_written(call, tmp_path, capsys, levels):
    draw(tmp_path, levels=levels)
    call("--title", "My polyps", "--organ", "colon")
    facts = dataset_facts("specimen")
    assert (facts.title, facts.lists.target, facts.lists.organ, facts.subject) == ("My polyps", "polyp", "colon", "")
    assert "specimen" in sources.DATASETS
    study = yaml.safe_load((tmp_path / "specimen.yaml").read_text())
    assert study["datasets"] == ["specimen"] and study["archives"]["folder"] == "archives"
    assert study["ablations"].keys() == read_study(new.CONFIG).ablations.keys() and not any(study["ablations"].values())
    with Image.open("archives/specimen.png") as picture:
        assert picture.size == (new.COLUMNS * new.SIDE, 2 * new.SIDE)
        assert (np.asarray(picture)[..., 2].astype(int) - np.asarray(picture)[..., 0] > 40).mean() > 0.01  # the tint
    assert "specimen: 9 train, 1 val, 2 test cases; look at archives/specimen.png" in capsys.readouterr().err
    with pytest.raises(PipelineError, match="has a dataset of this name"):
        call()


def test_patients_stay_together(call, tmp_path):
    draw(tmp_path)
    rows = "".join(f"scan {index}.png,patient {index // 3}\n" for index in range(12))
    (tmp_path / "patients.csv").write_text(f"image,patient\n{rows}")
    call("--patients", "patients.csv", "--val", "0.25", "--test", "0.25")
    make_lists("specimen", Path("archives"), 1, Path("lists"))
    splits = {record.case: record.split for record in read_split_lists("lists")}
    assert [len({splits[f"scan {index + part}"] for part in range(3)}) for index in (0, 3, 6, 9)] == [1] * 4
    entry = json.loads(Path("lists/test.json").read_text())[0]
    assert entry["prompts"]["p4"].startswith("one ")


def rewritten(path: str, content: bytes):
    return lambda: Path(path).write_bytes(content)


GREY = np.full((40, 48), 130, np.uint8)


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (None, {"name": "My polyps"}, "My polyps: a dataset's name has small letters, digits and _ alone"),
        (None, {"name": "busi"}, "has a dataset of this name"),
        (None, {"name": "specimen_leak_free"}, "stands for datasets made of others"),
        (None, {"words": ["--val", "0.7", "--test", "0.4"]}, "leave no case for training"),
        (None, {"words": ["--test", "1.5"]}, "--test: Input should be less than 1"),
        (None, {"words": ["--target", " "]}, "--target: String should match"),
        (None, {"words": ["--patients", "nowhere.csv"]}, r"nowhere\.csv: cannot be used .* columns image and patient"),
        (rewritten("p.csv", b"image,who\n"), {"words": ["--patients", "p.csv"]}, "no patient for 12 images"),
        (rewritten("p.csv", b"a,b\nc,d\n"), {"words": ["--patients", "p.csv"]}, "needs the columns image and patient"),
        (lambda: shutil.rmtree("masks"), {}, "masks: no such folder; give the one that has the masks"),
        (lambda: [path.unlink() for path in Path("images").iterdir()], {}, "images: has no images"),
        (lambda: Path("masks/scan 3_mask.png").unlink(), {}, r"images: 1 of 12 .* no mask of their name: scan 3\.png"),
        (lambda: Path("images/scan 3.png").unlink(), {}, r"masks: 1 of 12 .* no image of their name: scan 3_mask\.png"),
        (rewritten("images/scan 3.jpg", b""), {}, "images: several images of one name: scan 3; keep one"),
        (
            rewritten("images/scan 3.png", b"no image"),
            {},
            r"scan 3.png does not decode .* Correct these files",
        ),
        (rewritten("masks/scan 3_mask.png", b"no mask"), {}, r"scan 3_mask\.png does not decode"),
        (rewritten("masks/scan 3_mask.png", encode(GREY)), {}, r"mask scan 3\.png is not black \(0\) and white"),
        (rewritten("masks/scan 3_mask.png", encode(GREY[:9] // 200)), {}, "48x9 pixels, its image 48x40"),
        (rewritten("images/scan 3.png", encode(GREY.astype(np.uint16) * 99)), {}, "more than 8 bits a channel"),
        (rewritten("specimen.yaml", b""), {}, r"specimen\.yaml: is there already; choose another name"),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing_behind(call, tmp_path, spoil, words, message):
    draw(tmp_path)
    if spoil:
        spoil()
    before = sources.TABLE.read_text()
    with pytest.raises(PipelineError, match=message):
        call(*words.get("words", []), name=words.get("name", "specimen"))
    assert sources.TABLE.read_text() == before
    assert not list(tmp_path.glob("archives/*"))
    assert "specimen" not in sources.DATASETS


def test_too_few_images(call, tmp_path):
    draw(tmp_path, 2)
    with pytest.raises(PipelineError, match=r"specimen: 2 patients or cases cannot be divided"):
        call()

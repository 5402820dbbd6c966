"""Mistakes that users make: each ends in a message that names the file or key and the fix, never in a traceback."""

import importlib
import io
import shlex
import sys
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from data_support import encode
from scoring_support import RUN
from workflow_support import ROOT, snakemake

from pipeline.data import sources
from pipeline.runtime.errors import run_command

IMAGE = encode(np.zeros((64, 64, 3), np.uint8))
CHECK = "pipeline check {root}/config.yaml study.yaml"
PREDICT = "pipeline predict --run {run} --output out --image-size 64 --prompt polyp"
FETCH = "pipeline.fetching.datasets --dataset busi --lock lock.json --output out"
NEW = "pipeline.data.new mine --images images --masks masks --target polyp --configs ."
PLAN = "pipeline.plan {root}/config.yaml"
SNAKEMAKE = "snakemake --cores 1 --nolock"


class Mistake(NamedTuple):
    """What a user does, and what the message must contain: the file or key, and the fix.

    Attributes:
        command: as typed in an empty folder; {root} is the repository, {run} a trained run.
        words: in the message.
        files: contents by path; None is a folder, text is as typed, a mapping is written as YAML.
        table: a line of the table of datasets, and what it is changed into.
    """

    command: str
    words: list[str]
    files: Mapping = MappingProxyType({})
    table: tuple[str, str] | None = None


def setting(content: dict | str | bytes, *words: str) -> Mistake:
    """A mistake in an overlay of config.yaml."""
    return Mistake(CHECK, list(words), {"study.yaml": content})


def variant(**settings) -> dict:
    return {"variants": {"telescopic": settings}}


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, IMAGE)
    return file.getvalue()


BUSI = zipped(*(f"Dataset_BUSI_with_GT/benign/benign (1){end}.png" for end in ("", "_mask")))
OWN = (
    "  busi:\n",
    """  specimen:
    title: Specimen
    version: "1"
    homepage: none
    licence: none
    citation: none
    archives: [{name: specimen.zip, layouts: [{image: "i/(?P<case>.*)", mask: "m/(?P<case>.*)"}]}]
    annotations: {folder: mine}
  busi:
""",
)
PAIRS = {"images/a.png": IMAGE, "masks/a.png": IMAGE}

MISTAKES = {
    # Configuration
    "a mistyped key": setting({"trainig": {}}, "trainig: no such key", "did you mean training?"),
    "a mistyped key inside": setting(
        {"training": {"batchsize": 8}}, "training.batchsize: no such key", "did you mean batch_size?"
    ),
    "a mistyped setting of a variant": setting(
        variant(text_widht=8), "variants.telescopic.text_widht: no such key", "did you mean text_width?"
    ),
    "an unknown variant": setting({"main": ["telescopik"]}, "main: variant 'telescopik'", "allowed: ", "telescopic"),
    "an unknown dataset": setting(
        {"datasets": ["kvasir"]}, "datasets.0: dataset 'kvasir' is unknown; allowed: kvasir_seg, "
    ),
    "an unknown kind": setting(variant(kind="lorra"), "variants.telescopic", "kind: 'lorra'", "allowed: ", "lora"),
    "an unknown family": setting({"leak": None}, "leak: no such key", "did you mean leaks?"),
    "null for an unknown ablation": setting(
        {"ablations": {"dept": None}}, "ablations: dept is no family that null could leave out", "did you mean depth?"
    ),
    "an ablation without a title": setting(
        {"ablations": {"mine": {"reference": "lora", "variants": ["lora", "dora"]}}},
        "ablations.mine.title: is missing; give it a value",
    ),
    "an unknown variant in a family": setting({"joint": {"variants": ["loar"]}}, "joint.variants", "'loar'", "lora"),
    "a reference outside its family": setting(
        {"ablations": {"depth": {"reference": "lora"}}}, "ablations.depth.reference: 'lora' is not among its variants"
    ),
    "a number in place of a list": setting({"seeds": 41}, "seeds", "valid list", "41"),
    "a word in place of a number": setting({"training": {"batch_size": "many"}}, "training.batch_size", "integer"),
    "a number out of its range": setting({"training": {"batch_size": 0}}, "training.batch_size", "equal to 1"),
    "a threshold in percent": setting({"evaluation": {"threshold": 50}}, "evaluation.threshold", "less than 1", "50"),
    "a seed twice": setting({"seeds": [41, 41]}, "seeds: 41 is listed more than once"),
    "a size that patches do not fill": setting({"image_size": 350}, "image_size", "multiple of 16", "350"),
    "a width that is not built": setting(
        variant(kind="telescopic", text_width=400),
        "variants.telescopic: width 400",
        "at most 128",
        "lower",
        "text_width",
    ),
    "a schedule of another length": setting(
        variant(schedule=[8] * 8), "variants.telescopic", "8 widths for 9 vision layers; give one for each"
    ),
    "tuned rates without the family": setting(
        {"tuning": None} | variant(training={"learning_rate": "tuned"}),
        "variants.telescopic.training.learning_rate: tuned needs the family tuning",
    ),
    "a name with capitals": setting({"variants": {"My-LoRA": {"kind": "lora"}}}, "variants.My-LoRA", "pattern"),
    "phantoms that are official": setting({"archives": {"phantoms": {}}}, "archives: phantoms", "official: false"),
    "a reference outside the main table": setting(
        {"main": ["lora"]}, "evaluation.comparisons_reference: 'telescopic' is not in main; allowed: lora"
    ),
    "no such overlay": Mistake(CHECK, ["study.yaml: cannot be read", "give the path of a YAML file"]),
    "a target behind --configfile": Mistake(
        "pipeline check {root}/config.yaml all", ["all: cannot be read", "before --configfile"]
    ),
    "an overlay that is not YAML": setting("seeds: [41", "study.yaml: not valid YAML", "line"),
    "a tab in an overlay": setting(
        "training:\n\tbatch_size: 8\n", "study.yaml: not valid YAML", "line 2", "without tabs"
    ),
    "an empty overlay": setting("# nothing\n", "study.yaml: has no keys at its top level; write `key: value`"),
    "a list as an overlay": setting("- seeds\n", "study.yaml: has no keys at its top level; write `key: value`"),
    "an overlay that is no text": setting(IMAGE, "study.yaml: is no text in UTF-8; give the path of a YAML file"),
    "a folder as an overlay": setting(None, "study.yaml: cannot be read", "give the path of a YAML file"),
    # A finished study
    "a comparison with a folder that is no study": Mistake(
        "pipeline.evaluation.diff results other", ["results: holds no scored run", "name a results folder"]
    ),
    "a crate of an unfinished study": Mistake(
        "pipeline crate {root}/config.yaml --output study.zip", ["not made yet", "finish the study first"]
    ),
    # Data
    "no such folder of archives": Mistake(f"{FETCH} --folder nowhere", ["nowhere: no such folder", "archives.folder"]),
    "a folder of other files": Mistake(
        f"{FETCH} --folder mine",
        ["mine/Dataset_BUSI.zip: not laid out as busi's"],
        {"mine/Dataset_BUSI.zip": zipped("a.txt")},
    ),
    "a page saved as an archive": Mistake(
        f"{FETCH} --folder mine",
        ["Dataset_BUSI.zip: a web page (log-in", "download it with a browser and put it into archives.folder"],
        {"mine/Dataset_BUSI.zip": "<html>Sign in</html>"},
    ),
    "a truncated archive": Mistake(
        f"{FETCH} --folder mine",
        ["Dataset_BUSI.zip: a truncated zip archive", "download it with a browser and put it into archives.folder"],
        {"mine/Dataset_BUSI.zip": BUSI[:-40]},
    ),
    "an own archive elsewhere": Mistake(
        f"{FETCH} --folder mine".replace("busi", "specimen"),
        ["specimen: mine has no specimen.zip", "put it there"],
        {"mine/other.zip": BUSI},
        OWN,
    ),
    "no folder for an own archive": Mistake(
        FETCH.replace("busi", "specimen"), ["archives.folder must name the folder that has specimen.zip"], table=OWN
    ),
    "an own folder of lists without the dataset's": Mistake(
        f"{FETCH} --annotations".replace("busi", "specimen"),
        ["specimen: its split lists", "let archives.annotations_folder name the folder that has mine/train.json"],
        table=OWN,
    ),
    "no such folder of lists": Mistake(
        f"{FETCH} --annotations --folder nowhere", ["nowhere: no such folder; correct archives.annotations_folder"]
    ),
    "a list that is missing": Mistake(
        f"{FETCH} --annotations --folder lists",
        ["lists/busi/train.json: no such file; put the split lists there"],
        {"lists/busi": None},
    ),
    "a list of one's own in place of the pinned one": Mistake(
        f"{FETCH} --annotations --folder lists",
        ["lists/busi/train.json: not the pinned split list", "fetch it from http"],
        {"lists/busi/train.json": "[]"},
    ),
    "an entry without a title": Mistake(
        PLAN, ["datasets.yaml: cannot be used; correct it", "datasets.busi.title: "], table=("    title: BUSI\n", "")
    ),
    "an entry with a broken pattern": Mistake(
        PLAN,
        [
            "datasets.yaml: cannot be used; correct it",
            "datasets.clinicdb.archives.0.layouts",
            "not a regular expression",
        ],
        table=(r"Original/(?P<case>\d+)\.tif$", r"Original/(?P<case>\d+\.tif$"),
    ),
    "a mask without an image": Mistake(
        NEW, ["images: 1 of 2 files have no mask", "b.png", "add it"], PAIRS | {"images/b.png": IMAGE}
    ),
    "no such folder of masks": Mistake(
        NEW, ["masks: no such folder; give the one that has the masks"], {"images/a.png": IMAGE}
    ),
    "a taken name of a dataset": Mistake(NEW.replace("mine", "busi"), ["busi", "choose another"], PAIRS),
    # Own images
    "no such run": Mistake(
        PREDICT.replace("{run}", "nowhere") + " --image a.png",
        ["nowhere: no trained run here. To train one: snakemake results/runs/DATASET/VARIANT/seed41/weights"],
        {"a.png": IMAGE},
    ),
    "a run that is not trained": Mistake(
        PREDICT.replace("{run}", "results/runs/busi/lora") + " --image a.png",
        ["lora: no trained run here. To train one: snakemake results/runs/busi/lora/seed41/weights.safetensors"],
        {"a.png": IMAGE, "results/runs/busi/lora": None},
    ),
    "no such image": Mistake(f"{PREDICT} --image a.png", ["a.png: no such image"]),
    "a folder without images": Mistake(
        f"{PREDICT} --image empty", ["empty: no image in this folder; looked for"], {"empty/a.txt": "text"}
    ),
    "text as an image": Mistake(f"{PREDICT} --image a.png", ["a.png: the image does not decode"], {"a.png": "text"}),
    "a threshold of one": Mistake(
        f"{PREDICT} --image a.png --threshold 1", ["--threshold: 1 is not between 0 and 1"], {"a.png": IMAGE}
    ),
    "a threshold in words": Mistake(
        f"{PREDICT} --image a.png --threshold half", ["--threshold", "half"], {"a.png": IMAGE}
    ),
    "an empty prompt": Mistake(
        PREDICT.replace("polyp", "''") + " --image a.png", ["--prompt", "say what to segment"], {"a.png": IMAGE}
    ),
    "no prompt": Mistake(
        PREDICT.replace("--prompt polyp", "") + " --image a.png", ["--prompt", "say what to segment"], {"a.png": IMAGE}
    ),
    "an output that is a file": Mistake(
        f"{PREDICT} --image a.png", ["out: a file stands where a folder belongs"], {"a.png": IMAGE, "out": "text"}
    ),
    "a table without the columns": Mistake(
        PREDICT.replace("--prompt polyp", "") + " --image a.csv",
        ["a.csv: column prompt is missing", "image,prompt"],
        {"a.csv": "image,text\na.png,polyp\n"},
    ),
    "a table of images elsewhere": Mistake(
        PREDICT.replace("--prompt polyp", "") + " --image a.csv",
        ["a.csv: line 2: b.png: no such image"],
        {"a.csv": "image,prompt\nb.png,polyp\n"},
    ),
    "a NIfTI volume": Mistake(
        f"{PREDICT} --image a.nii.gz", ["a.nii.gz: a NIfTI volume; save its slices"], {"a.nii.gz": b"\x1f\x8b"}
    ),
    "a window upside down": Mistake(
        f"{PREDICT} --image a.png --window 9 1", ["--window: LOW must be below HIGH"], {"a.png": IMAGE}
    ),
    "another backbone": Mistake(
        f"{PREDICT} --image a.png --backbone nowhere", ["nowhere: no CLIPSeg here", "--backbone"], {"a.png": IMAGE}
    ),
    # Export and the other commands
    "the export of no run": Mistake(
        "pipeline export nowhere", ["nowhere: no trained run here. To train one: snakemake"]
    ),
    "the export onto a file": Mistake(
        "pipeline export {run} --output out", ["out", "a file stands where a folder belongs"], {"out": "text"}
    ),
    "a mistyped command": Mistake("pipeline predikt", ["'predikt'", "'predict'"]),
    "no command": Mistake("pipeline", ["COMMAND"]),
    "a check of no study": Mistake("pipeline check", ["config.yaml: cannot be read", "give the path of a YAML file"]),
    "the status of no study": Mistake(
        "pipeline status nowhere.yaml", ["nowhere.yaml: cannot be read", "give the path of a YAML file"]
    ),
    "an overlay alone": Mistake(
        "pipeline check {root}/workflow/config/demo.yaml",
        ["demo.yaml: is no whole study", "name config.yaml before it"],
    ),
    "a plan of nothing": Mistake("pipeline.plan", ["usage: ", "files"]),
    "a negative throughput": Mistake(
        "pipeline.plan {root}/config.yaml --teraflops -1", ["--teraflops: -1 is not above 0"]
    ),
    "hours before costs": Mistake(
        "pipeline.plan {root}/config.yaml --teraflops 30", ["results/cost.csv: is not there; make it with `snakemake"]
    ),
    "a new method without a name": Mistake("pipeline.models.new", ["usage: ", "NAME"]),
    "a new method with capitals": Mistake(
        "pipeline.models.new MyAdapter", ["MyAdapter: write the name in small letters"]
    ),
    "a new method of an old name": Mistake(
        "pipeline.models.new lora --config {root}/config.yaml", ["lora: ", "choose another name"]
    ),
    "a new method outside the repository": Mistake("pipeline.models.new mine", ["config.yaml", "correct the path"]),
    "a check of what was not made": Mistake(
        "pipeline.verify {root}/config.yaml study.yaml",
        ["none: no such folder; run the study first: snakemake all"],
        {"study.yaml": {"results": "none"}},
    ),
    "a check of nothing": Mistake("pipeline.verify", ["usage: ", "files"]),
    "the table of a study that was not run": Mistake(
        "pipeline.reporting.show --results nowhere", ["nowhere/tables/main.csv: cannot be read", "run its rule again"]
    ),
    "an unknown dataset, in Snakemake": Mistake(
        f"{SNAKEMAKE} results/cost.csv --config datasets=[kvasir]",
        ["datasets.0: dataset 'kvasir' is unknown; allowed: kvasir_seg, "],
    ),
    "a target of another study": Mistake(
        f"{SNAKEMAKE} results/demo/dsc.csv",
        ["results/demo/dsc.csv: neither a rule nor a file of this study", "name another study by --configfile"],
    ),
    "results that are a file": Mistake(
        f"{SNAKEMAKE} results/cost.csv",
        ["/results: a file stands where a folder belongs; move it away"],
        {"results": "text"},
    ),
}


def message_of_command(module: str, arguments: list[str], monkeypatch, capsys) -> str:
    """What a command says on stderr before it ends with an error; what it raises else is a traceback."""
    main = f"{module}.__main__" if find_spec(module).submodule_search_locations else module
    monkeypatch.setattr(sys, "argv", [main, *arguments])
    with pytest.raises(SystemExit) as ended:
        run_command(importlib.import_module(main).main)
    assert ended.value.code in (1, 2)
    return capsys.readouterr().err


def message_of_snakemake(arguments: list[str]) -> str:
    """What Snakemake says in the working folder, as if that were the repository."""
    for name in ("Snakefile", "config.yaml", "pipeline", "workflow"):
        Path(name).symlink_to(ROOT / name)
    result = snakemake(Path.cwd(), *arguments)
    assert result.returncode == 1
    return result.stderr


def write(files: Mapping) -> None:
    for path, content in files.items():
        if content is None:
            Path(path).mkdir(parents=True)
            continue
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump(content) if isinstance(content, dict) else content
        Path(path).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_fix(mistake, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(mistake.files)
    places = {"root": ROOT, "run": study.results / RUN}
    command, *arguments = shlex.split(mistake.command.format(**places))
    sources.table.cache_clear()
    if mistake.table:
        Path("datasets.yaml").write_text(sources.TABLE.read_text().replace(*mistake.table, 1))
        monkeypatch.setattr(sources, "TABLE", Path("datasets.yaml"))
    try:
        if command == "snakemake":
            message = message_of_snakemake(arguments)
        else:
            message = message_of_command(command, arguments, monkeypatch, capsys)
    finally:
        sources.table.cache_clear()
    print(message)
    assert "Traceback" not in message
    for word in mistake.words:
        assert word in message

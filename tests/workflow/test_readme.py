"""The README's own examples, taken from its text and run in a copy of the repository."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from evaluation_support import call
from PIL import Image
from workflow_support import ROOT, SMALL, snakemake

import pipeline.__main__
from pipeline.config import read_study
from pipeline.plan import Plan

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def example(language: str, word: str) -> str:
    """The one code block in ``language`` that contains ``word``."""
    blocks = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return found


@pytest.fixture
def own_copy(checkout, tmp_path) -> Path:
    """A copy of the repository that a test may add to."""
    folder = tmp_path / "repository"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return folder


def python(folder: Path, *arguments: str) -> str:
    result = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_and_modules_that_are_named_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    names = set(re.findall(r"`((?:pipeline|workflow|tests|envs)/[\w./-]+)`|\]\(([\w./-]+)\)", text))
    paths = {path for pair in names for path in pair if path}
    assert len(paths) > 8
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing
    for module in set(re.findall(r"python -m (pipeline[\w.]*)", text)):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module


def test_targets_stand_before_the_configuration_files():
    """``--configfile`` takes all words that follow it."""
    texts = [TEXT, *(path.read_text() for path in (ROOT / "workflow/config").glob("*.yaml"))]
    texts += [(ROOT / "config.yaml").read_text(), (ROOT / "Makefile").read_text()]
    lists = re.findall(r"snakemake [^\n`]*--configfile((?: +[^\s-]\S*)+)", "\n".join(texts))
    assert len(lists) > 4
    assert all(word.endswith(".yaml") for words in lists for word in words.replace("\\", "").split())


def test_own_images(study, tmp_path, monkeypatch):
    """The commands find what the demo makes, here a run that was not trained in it."""
    lines = example("sh", "pipeline export").replace("\\\n", " ").splitlines()
    plan = Plan(read_study(ROOT / "config.yaml", ROOT / "workflow/config/demo.yaml"))
    made = {plan.run_folder(*run) for run in plan.main.runs()}
    made |= {str(Path(folder).parent) for folder in made}
    made |= {f"{plan.study.results}/datasets/{dataset}/images" for dataset in plan.study.datasets}
    demo = tmp_path / plan.study.results
    shutil.copytree(study.results, demo)
    for kind in ("runs", "datasets"):
        (demo / kind / "busi").rename(demo / kind / "kvasir_seg")
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "pipeline"]
        given = [word for word in words if word.startswith("results/") and words[words.index(word) - 1] != "--output"]
        assert all(path in made for path in given)
        call(pipeline.__main__.main, *words[3:])
        made.add(words[-1])
    images = {path.name for path in (demo / "datasets/kvasir_seg/images").iterdir()}
    for output in (words[-1], shlex.split(lines[0])[-1]):
        assert {path.name.removesuffix("_overlay.png") for path in Path(output).glob("*_overlay.png")} == images


def test_a_variant_and_an_ablation(own_copy):
    overlay = yaml.safe_load(example("yaml", "steep:")) | yaml.safe_load(example("yaml", "steepness:"))
    (own_copy / "steep.yaml").write_text(yaml.safe_dump(overlay))
    targets = ("results/ablation_steepness.pdf", "results/tables/ablation_steepness.md")
    result = snakemake(own_copy, *targets, "--dry-run", "--configfile", "steep.yaml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "runs/busi/steep/seed41" in result.stdout
    assert "steepness" in python(own_copy, "-m", "pipeline.plan", "config.yaml", "steep.yaml")


@pytest.mark.slow
def test_a_new_method(own_copy):
    """Its module appears in the schema, trains in the workflow, and has a row in the table of cost."""
    told = python(own_copy, *example("sh", "pipeline.models.new").split()[1:])
    assert "variants: [zero_shot, telescopic, my_method]" in told
    python(own_copy, "-m", "pipeline.config", "schema", "workflow/schemas/config.schema.json")
    assert "What the shift starts from" in (own_copy / "workflow/schemas/config.schema.json").read_text()
    overlay = yaml.safe_load((own_copy / "small.yaml").read_text())
    overlay |= {"results": "results/new", "main": ["telescopic", "my_method"], "ablations": {}}
    (own_copy / "new.yaml").write_text(yaml.safe_dump(overlay))
    targets = ("results/new/runs/busi/my_method/seed41/per_case.csv", "results/new/cost.csv")
    result = snakemake(own_copy, *targets, "--configfile", "new.yaml", "--quiet", "rules")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    run = json.loads((own_copy / "results/new/runs/busi/my_method/seed41/manifest.json").read_text())
    # A value for each of the tiny model's features in nine vision layers and three text layers.
    assert run["trained_parameters"] == 9 * 128 + 3 * 64
    assert "\nmy_method,1344," in (own_copy / "results/new/cost.csv").read_text()


@pytest.mark.slow
def test_an_own_dataset(own_copy):
    """From a folder of images to the main table of a study with one variant."""
    generator = np.random.default_rng(7)
    for name in ("photos", "drawings"):
        (own_copy / name).mkdir()
    for index in range(16):
        image, mask = generator.integers(0, 99, (40, 48, 3), dtype=np.uint8), np.zeros((40, 48), np.uint8)
        top, left = generator.integers(2, 25, 2)
        image[top : top + 10, left : left + 12] += 120
        mask[top : top + 10, left : left + 12] = 255
        Image.fromarray(image).save(own_copy / f"photos/{index}.png")
        Image.fromarray(mask).save(own_copy / f"drawings/{index}_mask.png")
    take_in, study = map(shlex.split, example("sh", "pipeline.data.new").splitlines())
    python(own_copy, *take_in[1:])
    trial = re.search(r"`(snakemake results/try/[^`]+)`", TEXT)[1].split()
    for words in (study, trial):
        planned = snakemake(own_copy, *words[1:], "--dry-run", "--quiet", "rules")
        assert planned.returncode == 0, planned.stdout[-3000:] + planned.stderr[-3000:]
    small = {**SMALL, "main": ["telescopic"]}
    del small["datasets"], small["archives"]
    (own_copy / "tiny.yaml").write_text(yaml.safe_dump(small))
    table = "results/try/tables/main.md"
    result = snakemake(own_copy, table, *trial[-3:], "tiny.yaml", "--quiet", "rules")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "| Telescopic |" in (own_copy / table).read_text()
    prompts = pd.read_csv(own_copy / "results/try/runs/mine/telescopic/seed41/per_prompt.csv")
    assert set(prompts["prompt_type"]) == {f"p{index}" for index in range(6)}


def test_a_mistake_in_the_table_of_datasets_is_named(own_copy):
    table = own_copy / "workflow/resources/datasets.yaml"
    table.write_text(table.read_text().replace("    title: BUSI", "    titel: BUSI"))
    result = snakemake(own_copy, "--dry-run", "--quiet", "rules")
    output = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in output
    assert "correct it: datasets.busi.title: Field required; datasets.busi.titel: Extra inputs" in output

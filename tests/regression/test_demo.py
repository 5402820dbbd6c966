"""Part of the demo reproduces its baseline, and the comparison notices a single fault in the pipeline.

After a change that is meant to move the demo's numbers: commit it, run the portable part of the demo
(workflow/config/portable.yaml), ``python -m pipeline.evaluation.baseline write --dsc results/portable/dsc.csv --output
tests/regression/demo.json``, and commit the new baseline.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from damages import DAMAGES, DATASET, OVERLAYS, ROOT, SEED, VARIANT

from pipeline.config import read_study
from pipeline.evaluation.baseline import compare_with_baseline
from pipeline.runtime import portable
from pipeline.runtime.errors import PipelineError

BASELINE = Path(__file__).with_name("demo.json")
NAME = f"{DATASET}/{VARIANT}/seed{SEED}"
TRAINED = "names and shapes of the trained tensors changed"
# The facts of the baseline that each damage changes.
NOTICED = {
    "reversed_widths": [TRAINED],
    "double_sigmoid": ["training loss", "validation loss"],
    "flipped_masks": ["training loss", "validation loss", "DSC"],
    "flipped_predictions": ["DSC"],
    "shuffled_prompts": ["training loss"],
    "shuffled_test_prompts": ["prompts of the test cases changed"],
    "unfrozen_layer": ["trained parameters", TRAINED],
}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The results folder of the part of the demo that has a baseline."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("config.yaml", "pipeline", "workflow"):
        (folder / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "results/portable/dsc.csv", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--cores", "2", "--quiet", "rules", "--configfile", *map(str, OVERLAYS)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "results/portable"


@pytest.fixture(scope="module")
def damaged(demo, tmp_path_factory) -> Path:
    """A folder with a run and its dsc.csv for each damage."""
    folder = tmp_path_factory.mktemp("damaged")
    command = [sys.executable, str(ROOT / "tests/support/damages.py"), str(demo), str(folder)]
    environment = {**os.environ, **portable.ENVIRONMENT}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_the_demo_reproduces_its_baseline(demo):
    command = [sys.executable, "-m", "pipeline.evaluation.baseline", "compare"]
    command += ["--dsc", demo / "dsc.csv", "--baseline", BASELINE]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    study = read_study(ROOT / "config.yaml", *OVERLAYS)
    runs = len(study.datasets) * len(study.main) * len(study.seeds)
    assert f"{runs} runs as in {BASELINE}" in result.stderr


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_noticed(damaged, tmp_path, damage):
    record = json.loads(BASELINE.read_text())
    record["runs"] = [
        run for run in record["runs"] if (run["dataset"], run["variant"], run["seed"]) == (DATASET, VARIANT, SEED)
    ]
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps(record))
    dsc = damaged / damage / "dsc.csv"
    if damage == "none":
        assert compare_with_baseline(dsc, baseline) == f"1 runs as in {baseline}"
        return
    with pytest.raises(PipelineError) as difference:
        compare_with_baseline(dsc, baseline)
    for words in NOTICED[damage]:
        assert f"{NAME}: {words}" in str(difference.value)

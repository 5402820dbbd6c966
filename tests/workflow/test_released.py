"""Published checkpoints in the workflow: a run of its own in place of them, and one from a hub on this machine."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hub_support import running_hub
from workflow_support import SMALL, snakemake

pytestmark = pytest.mark.long
KEY = "telescopic_bkai"
OWN, HUB = Path("results/own"), Path("results/hub")
RUN = "runs/bkai/telescopic/seed41"


def run(checkout: Path, results: Path, changes: dict, *more: str, **environment: str) -> None:
    """Make the table in ``checkout``, and ``more`` in the results folder."""
    # Little is learnt in so few steps: probabilities are all about this.
    overlay = {**SMALL, "datasets": ["bkai"], "results": str(results), "evaluation": {"threshold": 0.049}, **changes}
    (checkout / "released.yaml").write_text(yaml.safe_dump(overlay))
    targets = [str(results / name) for name in ("tables/released.md", *more)]
    result = snakemake(checkout, *targets, "--configfile", "released.yaml", "--quiet", "rules", **environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.fixture(scope="module")
def own(checkout, tmp_path_factory) -> Path:
    """A copy of the repository in which a small study has exported, read back and scored its own run."""
    folder = tmp_path_factory.mktemp("released") / "repository"
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns("results", ".snakemake"))
    run(folder, OWN, {}, f"{RUN}/per_prompt.csv")
    return folder


def test_an_exported_run_has_the_scores_of_the_run(own):
    scores = pd.read_csv(own / OWN / f"released/{KEY}/corrected/per_prompt.csv")
    pd.testing.assert_frame_equal(scores, pd.read_csv(own / OWN / RUN / "per_prompt.csv"))
    assert scores["dsc"].nunique() > 6
    run_dsc = pd.read_csv(own / OWN / RUN / "per_case.csv")["dsc"].mean()
    table = pd.read_csv(own / OWN / "tables/released.csv").set_index(["masks", "size"])
    assert table.loc[("corrected", "original"), "random"] == pytest.approx(100 * run_dsc)
    assert (table["verdict"] == "not comparable").all() and table["reported"].isna().all()
    assert "exported in the authors' layout" in (own / OWN / "tables/released.md").read_text()


def test_a_checkpoint_from_a_hub_is_scored_without_training(own, monkeypatch):
    """The images of the study above as a user's own archives, its backbone a folder, its run as the authors' file."""
    files = {"app.py": b"import gradio", "best.ckpt": (own / OWN / f"exported/{KEY}.ckpt").read_bytes()}
    phantoms = own / OWN / "phantoms"
    # The lists of phantoms are not the pinned ones.
    facts = own / "workflow/resources/datasets.yaml"
    table = yaml.safe_load(facts.read_text())
    table["datasets"]["bkai"]["annotations"]["sha256"] = {}
    facts.write_text(yaml.safe_dump(table))
    changes = {
        "archives": {
            "folder": str(phantoms / "archives"),
            "annotations_folder": str(phantoms / "annotations"),
            "official": False,
        },
        "backbone": {"source": "folder", "folder": str(own / OWN / "backbone")},
    }
    with running_hub(monkeypatch, "Ujjwal101/Telescopic_Adapters", files, "space") as hub:
        run(own, HUB, changes, HF_ENDPOINT=hub.endpoint, HF_HUB_OFFLINE="0")
    assert not (own / HUB / "runs").exists()
    table, expected = (pd.read_csv(own / results / "tables/released.csv") for results in (HUB, OWN))
    measured = [*expected.columns[: expected.columns.get_loc("reported")]]
    pd.testing.assert_frame_equal(table[measured], expected[measured])
    assert set(table["reported"]) == {88.38} and set(table["verdict"]) <= {"below", "within", "above"}
    assert (
        "best.ckpt of Ujjwal101/Telescopic_Adapters at commit 0123456789ab"
        in (own / HUB / "tables/released.md").read_text()
    )

"""Literal scores of variants on two datasets, and what is reported."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import LABELS, REPORTED, run_main

from pipeline.evaluation.per_case import CHOICES, FURTHER
from pipeline.evaluation.readers import read_reported


@pytest.fixture(scope="session")
def facts() -> pd.DataFrame:
    return read_reported(REPORTED)


@pytest.fixture
def labels() -> dict[str, str]:
    return LABELS | {"isic16": "ISIC 2016", "busi": "BUSI"}


@pytest.fixture
def dsc() -> pd.DataFrame:
    rows = [
        ("busi", "telescopic", 41, 0.60),
        ("busi", "telescopic", 42, 0.64),
        ("busi", "telescopic", 43, 0.68),
        ("isic16", "telescopic", 41, 0.90),
        ("isic16", "telescopic", 42, 0.91),
        ("isic16", "telescopic", 43, 0.92),
        ("busi", "uniform", 41, 0.64),
        ("isic16", "uniform", 41, 0.91),
        ("busi", "end_to_end", 41, 0.50),
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """Runs of two variants on two datasets (BUSI's last case has no target), listed in dsc.csv, with further scores."""
    results = tmp_path_factory.mktemp("study")
    runs = []
    for dataset in ("busi", "bkai"):
        for at, variant in enumerate(("zero_shot", "telescopic")):
            for seed in (41, 42):
                base = 0.3 + 0.4 * at + 0.02 * (seed - 41)
                run = write_run(results, dataset, variant, seed, [base, base + 0.1, 1.0 if at else 0.0])
                runs.append(run)
                table = pd.read_csv(run.folder / "per_case.csv", dtype={"case": str})
                table["dsc_input_size"] = [base + 0.05, base + 0.15, float(at)]
                table["dsc_prompt_ensemble"] = table["dsc"] * (0.9 + 0.02 * (seed - 41))
                table["dsc_reference"] = table["dsc"] * (0.98 if dataset == "bkai" else 1)
                if dataset == "busi":
                    table.loc[2, "target_pixels"] = 0
                table.to_csv(run.folder / "per_case.csv", index=False)
                _write_scores(
                    run.folder / "per_prompt.csv",
                    [
                        ({"prompt_type": name, "prompt": f"as {name}"}, f"00{index}", base + index * shift)
                        for name, shift in {"p0": -0.1, "p1": 0.0, "p2": 0.04, "p3": 0.1}.items()
                        for index in range(3)
                        if name != "p3" or dataset == "bkai"
                    ],
                )
                if variant == "telescopic":
                    _write_scores(
                        run.within(results / "transfer") / "per_case.csv",
                        [
                            ({"test_dataset": name}, f"00{index}", base - 0.3 * (name != dataset) + 0.1 * index)
                            for name in ("bkai", "busi")
                            for index in range(2)
                        ],
                    )
    write_dsc_of(results, runs)
    return results


def _write_scores(path: Path, rows) -> None:
    """Scores from (keys, case, dsc)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [
        {"prompt": "a polyp", **keys, "case": case, "dsc": dsc, "iou": dsc / (2 - dsc), "hd95": 3.0, "nsd": dsc}
        | {"target_pixels": 5, "predicted_pixels": 7, "dsc_prompt_sd": 0.1, "missed": 0, "ece": 0.1}
        | dict.fromkeys((*CHOICES, *FURTHER), dsc)
        for keys, case, dsc in rows
    ]
    pd.DataFrame(records).to_csv(path, index=False)


@pytest.fixture
def damaged(study, tmp_path) -> Path:
    """A copy of ``study`` that a test may damage."""
    return Path(shutil.copytree(study, tmp_path / "results"))


@pytest.fixture
def render(tmp_path):
    """Calls a table's command line on a study; returns its CSV and its Markdown."""

    def rendered(module, results: Path, *options) -> tuple[pd.DataFrame, str]:
        name = module.__name__.rpartition(".")[2]
        labels = {"telescopic": "Telescopic, ours", "busi": "BUSI", "bkai": "BKAI"}
        shared = ["--results", results, "--runs", results / "dsc.csv", "--labels", labels]
        run_main(module, *shared, *options, "--note", "Made up.", "--output", tmp_path / name)
        text = (tmp_path / f"{name}.md").read_text()
        assert "> Made up.\n" in text
        return pd.read_csv(tmp_path / f"{name}.csv"), text

    return rendered

"""The main table on the terminal."""

import json

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import REPORTED, run_main

from pipeline.reporting import show
from pipeline.reporting.tables import main
from pipeline.runtime.errors import PipelineError


def test_values_stand_below_their_headings(tmp_path):
    """Also those over the cases with a target, which has a column beside its dataset's."""
    run = write_run(tmp_path, "busi", "telescopic", 41, [1.0, 0.6])
    scores = pd.read_csv(run.folder / "per_case.csv").assign(target_pixels=[0, 100])
    scores.to_csv(run.folder / "per_case.csv", index=False)
    dsc = write_dsc_of(tmp_path, [run, write_run(tmp_path, "isic16", "telescopic", 41, [0.9])])
    pd.DataFrame(columns=["dataset", "variant", "reference", "margin", "outcome"]).to_csv(tmp_path / "comparison.csv")
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--comparison", tmp_path / "comparison.csv"]
    options += ["--variants", ["telescopic"], "--datasets", ["busi", "isic16"], "--labels", {"busi": "BUSI"}]
    run_main(main, *options, "--reported", REPORTED, "--output", tmp_path / "tables/main")
    heading, _, row = show.show(tmp_path).splitlines()[:3]
    assert [part.strip() for part in heading.split("  ") if part.strip()][1:3] == ["BUSI", "BUSI, with target"]
    assert row.split()[-4:] == ["80.0", "60.0", "90.0", "85.0"]


def test_measured_rows_and_where_things_are(tmp_path, capsys):
    runs = [write_run(tmp_path, "busi", "telescopic", seed, [score]) for seed, score in ((41, 0.62), (42, 0.66))]
    runs.append(write_run(tmp_path, "isic16", "telescopic", 41, [0.9]))
    dsc = write_dsc_of(tmp_path, runs)
    pd.DataFrame(columns=["dataset", "variant", "reference", "margin", "outcome"]).to_csv(tmp_path / "comparison.csv")
    labels = {"telescopic": "Ours_*", "busi": "B | U", "isic16": "ISIC"}
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--comparison", tmp_path / "comparison.csv"]
    options += ["--variants", ["telescopic", "lora"], "--datasets", ["isic16", "busi"], "--labels", labels]
    run_main(
        main, *options, "--reported", REPORTED, "--note", "Not <comparable>.", "--output", tmp_path / "tables/main"
    )
    (tmp_path / "pareto.pdf").write_bytes(b"")
    run_main(show, "--results", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "DSC, %  ISIC       B | U  Average"
    assert lines[2] == "Ours_*  90.0  64.0 ± 2.8     76.0"
    assert lines[3].split() == ["lora", "n/a", "n/a", "n/a"] and "CRIS" not in "".join(lines)
    assert "Not <comparable>." in lines and lines[-1].endswith("pareto") and str(tmp_path) in lines[-1]


@pytest.mark.parametrize("content", [None, "", "variant,label\n", json.dumps({})])
def test_a_missing_or_broken_table_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "tables").mkdir()
        (tmp_path / "tables/main.csv").write_text(content)
        (tmp_path / "tables/main.md").write_text("| Method |\n")
    with pytest.raises(PipelineError, match="cannot be read as the main table"):
        show.show(tmp_path)

"""Table ``secondary_metrics``: IoU in points, HD95 in pixels, missed cases, and every reported number once."""

import pandas as pd
import pytest
from reporting_support import REPORTED, VARIANTS

from pipeline.reporting.markup import Cell
from pipeline.reporting.tables import secondary_metrics
from pipeline.runtime.errors import PipelineError

FIVE = ["kvasir_seg", "clinicdb", "bkai", "isic16", "busi"]


@pytest.fixture
def scored(dsc):
    hd95 = {"telescopic": [50.0, 60.0, 70.0, 30.0, 30.0, 30.0], "uniform": [20.0, 30.0], "end_to_end": [80.0]}
    values = [value for variant in ("telescopic", "uniform", "end_to_end") for value in hd95[variant]]
    return dsc.assign(iou=dsc["dsc"] - 0.1, hd95=values, nsd=dsc["dsc"] - 0.2, misses=[1, 2, 3, 0, 0, 0, 4, 0, 5])


def test_cells(scored, facts, labels):
    frame, table = secondary_metrics.build(
        scored, facts, ["telescopic", "uniform", "end_to_end"], ["isic16", "busi"], labels
    )
    rows = {(name, cells[0].value): cells for name, cells in table.rows}
    assert list(table.header) == ["Method", "Metric", "ISIC 2016", "BUSI"]
    assert rows["Telescopic Adapters", "IoU, %"][2] == Cell("54.00", "4.00", "best")
    assert rows["CLIPSeg, end-to-end", "IoU, %"][2] == Cell("40.00", None, "second", "", "55.52", "b")
    assert rows["Telescopic Adapters", "NSD, %"][2] == Cell("44.00", "4.00", "best")
    assert rows["CLIPSeg, end-to-end", "NSD, %"][2] == Cell("30.00", None, "second")
    # Of distances and misses the smallest is best.
    assert rows["Uniform adapters", "HD95, pixels"][2] == Cell("20.00", None, "best")
    assert rows["Telescopic Adapters", "HD95, pixels"][2] == Cell("60.00", "10.00", "second")
    assert rows["CLIPSeg, end-to-end", "HD95, pixels"][2] == Cell("80.00", None, None, "", "72.98", "b")
    assert rows["Telescopic Adapters", "Missed cases"][2] == Cell("2.00", "1.00", "best")
    assert rows["SAN (reported only)", "HD95, pixels"][1] == Cell(reported="87.25", source="b")
    assert ("SAN (reported only)", "Missed cases") not in rows
    row = frame.set_index(["metric", "variant"]).loc["hd95", "telescopic"]
    assert (row["busi"], row["busi_sd"], row["busi_seeds"]) == (60.0, 10.0, 3)
    assert any("MONAI" in footnote and "diagonal" in footnote for footnote in table.footnotes)


def test_every_reported_number_is_shown(scored, facts, labels):
    frame, _ = secondary_metrics.build(scored, facts, VARIANTS, FIVE, labels)
    shown = {
        (row["variant"], dataset, row["metric"]): row[f"{dataset}_reported"]
        for _, row in frame.iterrows()
        for dataset in FIVE
        if pd.notna(row[f"{dataset}_reported"])
    }
    expected = facts[facts["metric"] != "dsc"]
    assert len(shown) == len(expected) == 50
    assert shown == {(row.method, row.dataset, row.metric): row.value for row in expected.itertuples()}


def test_command_line(study, render):
    frame, text = render(
        secondary_metrics, study, "--dsc", study / "dsc.csv", "--reported", REPORTED,
        "--datasets", ["busi", "bkai"], "--variants", ["zero_shot", "telescopic"],
    )  # fmt: skip
    assert set(frame["metric"]) == {"iou", "hd95", "nsd", "misses"}
    assert "| Telescopic, ours | HD95, pixels |" in text and "Made from 8 runs" in text


def test_scores_of_an_older_run_are_named(study, render, tmp_path):
    pd.read_csv(study / "dsc.csv").drop(columns="hd95").to_csv(tmp_path / "dsc.csv", index=False)
    with pytest.raises(PipelineError, match=r"dsc\.csv: column hd95 is missing"):
        render(
            secondary_metrics, study, "--dsc", tmp_path / "dsc.csv", "--reported", REPORTED,
            "--datasets", ["busi"], "--variants", ["telescopic"],
        )  # fmt: skip

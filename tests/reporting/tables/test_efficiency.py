"""Table ``efficiency``: costs and what they buy, against hand-computed values."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import REPORTED, run_main, write_cost

from pipeline.reporting.markup import Cell
from pipeline.reporting.tables import efficiency
from pipeline.reporting.tables.scores import Scores


def test_cells(dsc, facts, labels):
    cost = pd.DataFrame(
        {
            "trainable_parameters": [613_297, 0],
            "trainable_percent": [0.4068, 0.0],
            # The smallest shows three significant digits.
            "inference_gmacs": [0.12, 0.0989],
            "training_gflops": [180.0, 90.0],
        },
        index=pd.Index(["telescopic", "zero_shot"], name="variant"),
    )
    zero_shot = pd.DataFrame({"dataset": ["busi", "isic16"], "variant": "zero_shot", "seed": 41, "dsc": [0.2, 0.3]})
    variants = ["zero_shot", "telescopic", "uniform"]
    scores = Scores(pd.concat([dsc, zero_shot]), variants, ["isic16", "busi"], facts)
    frame, table = efficiency.build(scores, cost, facts, labels)
    row = frame.set_index("variant").loc["telescopic"]
    assert row["trainable_parameters"] == 613_297
    assert row["dsc_per_million"] == pytest.approx(77.5 / 0.613297, abs=1e-6)
    assert row["dsc_per_million_reported"] == pytest.approx(85.58 / 0.613, abs=1e-6)
    cells = dict(table.rows)
    assert cells["Telescopic Adapters"][0] == Cell("613,297", reported="613,000", source="a")
    assert cells["Telescopic Adapters"][2] == Cell("0.1200", rank="second")
    assert cells["Telescopic Adapters"][3].value == "180.00"
    assert cells["Telescopic Adapters"][5] == Cell("126.37", reported="139.61")
    # Nothing is trained: neither a training cost nor points per parameter.
    assert [cells["CLIPSeg (zero-shot)"][at].value for at in (0, 3, 5)] == ["0", "n/a", "n/a"]
    assert cells["CLIPSeg (zero-shot)"][2] == Cell("0.0989", rank="best")
    assert cells["Uniform adapters"][0].value == "n/a"
    assert cells["CRIS (reported only)"][0].value == "n/a"


def test_command_line(tmp_path):
    dsc = write_dsc_of(tmp_path, [write_run(tmp_path, "busi", "telescopic", 41, [0.5, 0.7])])
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--cost", write_cost(tmp_path)]
    options += ["--reported", REPORTED, "--variants", ["telescopic"], "--datasets", ["busi"]]
    run_main(efficiency, *options, "--labels", {"busi": "Ultrasound"}, "--output", tmp_path / "efficiency")
    printed = (tmp_path / "efficiency.md").read_text()
    assert "**Cost and DSC (%, Ultrasound), measured [reported]**" in printed
    assert (
        "| telescopic | 613,297 [613,000<sup>a</sup>] | 0.406 | 41.98 | 180.00 | 60.00 [65.90<sup>a</sup>] |" in printed
    )
    assert "Made from 1 run " in printed and "613297" in (tmp_path / "efficiency.csv").read_text()

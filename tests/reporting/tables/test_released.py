"""Table ``released`` from literal scores."""

import json
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from reporting_support import REPORTED, run_main

from pipeline.reporting.tables import released
from pipeline.runtime.errors import PipelineError

KEY = "telescopic_bkai"
SOURCE = {"official": True, "sha256": "a" * 64, "trained_parameters": 613_297, "repository": "someone/something"}
SOURCE |= {"revision": "0123456789abcdef" * 2 + "01234567", "file": "weights/best.ckpt"}
# Mean DSC by prompt type; the second of two cases lies the type's shift above, the first as far below.
MEANS = {"p0": 0.30, "p1": 0.86, "p2": 0.90}
SHIFTS = {"p0": 0.1, "p1": 0.02, "p2": -0.04}
GAIN, AT_INPUT = {"corrected": 0.0, "reference": -0.03}, 0.01


def write_scores(results: Path, gain=GAIN, source=SOURCE) -> Path:
    """released/KEY of a results folder."""
    folder = results / "released" / KEY
    for masks, more in gain.items():
        rows = [
            {"prompt_type": name, "case": case, "prompt": name, "dsc": MEANS[name] + more + sign * SHIFTS[name]}
            for name, (case, sign) in product(MEANS, (("a", -1), ("b", 1)))
        ]
        table = pd.DataFrame(rows).assign(iou=0.5, hd95=3.0, nsd=0.5, ece=0.1, target_pixels=5, predicted_pixels=7)
        (folder / masks).mkdir(parents=True)
        table = table.assign(dsc_input_size=table["dsc"] + AT_INPUT, dsc_corrected=0, dsc_reference=0)
        table.to_csv(folder / masks / "per_prompt.csv", index=False)
    (folder / "source.json").write_text(json.dumps(source))
    return results


def render(results: Path) -> tuple[pd.DataFrame, str]:
    labels = {"telescopic": "Telescopic", "bkai": "BKAI"}
    options = ["--results", results, "--checkpoints", [KEY], "--reported", REPORTED, "--labels", labels]
    run_main(released, *options, "--output", results / "released")
    table = pd.read_csv(results / "released.csv").set_index(["masks", "size"])
    return table, (results / "released.md").read_text()


def test_cells(tmp_path):
    table, text = render(write_scores(tmp_path))
    # Reported for BKAI: 88.38.
    first, last = table.loc[("corrected", "original")], table.loc[("all", "all")]
    assert [first[name] for name in ("p0", "p1", "p2", "random")] == pytest.approx([30, 86, 90, 88])
    # Either prompt for each case: 84 or 94 for a, 88 or 86 for b; the mean of one draw has variance (25 + 1) / 4.
    assert first["draw_sd"] == pytest.approx((26 / 4) ** 0.5, abs=1e-5)
    assert (first["low"], first["low_at"], first["high"], first["high_at"]) == (86, "p1", 90, "p2")
    assert first["difference"] == pytest.approx(-0.38) and first["nearest"] == pytest.approx(0.38)
    assert (first["nearest_at"], first["verdict"], first["cases"]) == ("random", "within", 2)
    assert table.loc[("corrected", "input"), "random"] == pytest.approx(89)
    assert table.loc[("reference", "original"), "verdict"] == "above"
    assert (last["low_at"], last["high_at"]) == ("reference original p1", "corrected input p2")
    assert (last["nearest"], last["nearest_at"]) == (pytest.approx(0.38), "corrected original random")
    assert last["verdict"] == "within" and pd.isna(last["p1"]) and pd.isna(last["difference"])
    row = "| Telescopic, BKAI | corrected | original | 30.00 | 88.00 ± 2.55 | 86.00 (p1) | 90.00 (p2) | 88.38 | -0.38 |"
    assert f"{row} 0.38 (random) | within |" in text.splitlines()
    assert "weights/best.ckpt of someone/something at commit 0123456789ab; 613,297 trained parameters" in text


@pytest.mark.parametrize(("gain", "verdict", "nearest"), [(-0.18, "above", 15.38), (0.05, "below", 2.62)])
def test_a_reported_number_outside_of_the_range(tmp_path, gain, verdict, nearest):
    table, _ = render(write_scores(tmp_path, dict.fromkeys(GAIN, gain)))
    last = table.loc[("all", "all")]
    assert last["verdict"] == verdict and last["nearest"] == pytest.approx(nearest)


def test_an_own_run_is_not_compared(tmp_path):
    table, text = render(write_scores(tmp_path, source=SOURCE | {"official": False}))
    assert set(table["verdict"]) == {"not comparable"} and table["reported"].isna().all()
    assert "a run of this study, exported in the authors' layout and read back" in text


def test_a_damaged_source_is_named(tmp_path):
    with pytest.raises(PipelineError, match=r"source\.json: no 'trained_parameters'; delete"):
        render(write_scores(tmp_path, source={"official": True}))

"""Table ``prompt_sensitivity`` from literal scores."""

import pandas as pd
import pytest

from pipeline.reporting.tables import prompt_sensitivity
from pipeline.runtime.errors import PipelineError


def test_cells(study, render):
    table, text = render(prompt_sensitivity, study)
    table = table.set_index(["dataset", "variant"])
    busi, bkai = table.loc[("busi", "telescopic")], table.loc[("bkai", "telescopic")]
    # Cases 0, 1 and 2 lie 0, 1 and 2 shifts above 0.7 (seed 41) and 0.72 (seed 42).
    assert [busi[name] for name in ("p0", "p1", "p2", "mean")] == pytest.approx([61, 71, 75, 73])
    assert busi["p1_sd"] == pytest.approx(100 * 0.02 / 2**0.5, abs=1e-5) and pd.isna(busi["p3"])
    assert busi["range"] == pytest.approx(4) and bkai["range"] == pytest.approx(10)
    assert busi["prompt_sd"] == pytest.approx(4 / 2**0.5, abs=1e-5)
    assert bkai["mean"] == pytest.approx((71 + 75 + 81) / 3, abs=1e-5)
    # Within case k the two types differ by 4 k points: SD 4 k / sqrt 2, on average over k = 0, 1, 2 4 / sqrt 2.
    assert busi["sd_by_case"] == pytest.approx(4 / 2**0.5, abs=1e-5)
    assert bkai["sd_by_case"] == pytest.approx(pd.Series([0, 4, 10]).std(), abs=1e-5)
    row = "| Telescopic, ours | BUSI | 61.00 | <u>71.00</u> | **75.00** | n/a | 73.00 | 4.00 | 2.83 | 2.83 |"
    assert row in text.splitlines() and "Made from 8 runs" in text
    assert 'Prompts of BUSI, case 000: p1 "as p1"; p2 "as p2".' in text
    assert 'Prompts of BKAI, case 000: p1 "as p1"; p2 "as p2"; p3 "as p3".' in text


def test_a_case_that_was_not_scored_under_a_type_is_named(damaged, render):
    path = damaged / "runs/busi/telescopic/seed41/per_prompt.csv"
    path.write_text(path.read_text().replace("p2,002,", "p2,001,"))
    with pytest.raises(PipelineError, match=r"per_prompt\.csv: other cases under p2 than under p0"):
        render(prompt_sensitivity, damaged)


def test_prompts_are_shown_as_text(damaged, render):
    path = damaged / "runs/busi/zero_shot/seed41/per_prompt.csv"
    path.write_text(path.read_text().replace("as p1", "<b>a *polyp*</b>"))
    _, text = render(prompt_sensitivity, damaged)
    assert r'p1 "\<b>a \*polyp\*\</b>"; p2 "as p2"' in text

"""paper.md: every verdict follows from the numbers, in every direction that it can go."""

import json

import pandas as pd
import pytest
from reporting_support import LABELS, REPORTED, run_main

from pipeline.evaluation.readers import read_reported
from pipeline.reporting import paper as module
from pipeline.reporting.paper import paper, read_regression
from pipeline.runtime.errors import PipelineError

NOTE = "Not comparable with the paper: phantom images; a tiny backbone."


def _row(variant, value, reported, verdict, dataset="average", source="paper", method=None):
    return {
        "method": method or variant,
        "variant": variant,
        "dataset": dataset,
        "source": source,
        "reported": reported,
        "value": value,
        "verdict": verdict,
    }


def _cost(telescopic=613_297, uniform=613_297, end_to_end=150_747_746):
    counts = {"telescopic": telescopic, "uniform": uniform, "end_to_end": end_to_end}
    index = pd.Index(counts, name="variant")
    return pd.DataFrame({"trainable_parameters": list(counts.values())}, index=index)


def _dsc(telescopic, uniform, end_to_end):
    rows = [
        ("busi", "telescopic", 41, telescopic),
        ("busi", "uniform", 41, uniform),
        ("busi", "end_to_end", 41, end_to_end),
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])


def _components(busi):
    rows = {"variant": ["telescopic", "vision"], "busi": [66.0 + busi, 66.0], "busi_sd": [0.1, 0.1]}
    return pd.DataFrame(rows)


def _comparison(difference, low, high):
    row = {"dataset": "average", "variant": "uniform", "reference": "telescopic", "difference": difference}
    return pd.DataFrame([row | {"difference_low": low, "difference_high": high}])


def _sections(**changed):
    given = {
        "regression": [_row("telescopic", 85.5, 85.58, "reproduces")],
        "dsc": _dsc(0.86, 0.85, 0.87),
        "cost": _cost(),
        "reported_table": read_reported(REPORTED),
        "variants": ["telescopic", "uniform", "end_to_end"],
        "labels": LABELS,
        "components": _components(-0.5),
        "comparison": _comparison(-0.6, -0.9, -0.3),
        "figures": ["pareto", "comparison", "transfer", "width_schedule"],
        "tables": ["main", "comparison", "data_audit"],
    } | changed
    page = paper(**given)
    parts = page.split("\n## ")
    return parts[0], dict(enumerate(parts[1:], start=1))


def test_everything_reproduces():
    head, sections = _sections()
    assert not head.count("> ") and len(sections) == 8
    assert "**Reproduces**: 613,297 trained parameters against the paper's 613k" in sections[1]
    assert "244.6 times" in sections[1] and "![Figure" in sections[1] and "(width_schedule.png)" in sections[1]
    assert "**Reproduces**: 1 of 1 measured rows within tolerance; largest difference -0.08 points" in sections[2]
    assert "| Telescopic Adapters | Average | 85.58 | 85.50 | -0.08 | reproduces |" in sections[2]
    assert "**Reproduces**: Telescopic Adapters is on the measured Pareto front of 3 variants" in sections[4]
    assert "**Reproduces** the remark that on BUSI" in sections[5] and "-0.50 (BUSI) points" in sections[5]
    assert "**Supported**" in sections[6] and "+0.60 DSC points (Average; 95% interval +0.30 to +0.90)" in sections[6]
    assert "Not judged" in sections[7]


def test_links_only_lead_to_what_is_there():
    _, sections = _sections()
    assert "Here: [tables/main.md](tables/main.md)\n" in sections[2]
    assert "Here: n/a" in sections[7] and "qualitative" not in sections[7]
    beyond = sections[8]
    # The table of comparisons stands in section 6; the figure of that name does not.
    assert "(comparison.pdf)" in beyond and "(transfer.pdf)" in beyond and "(tables/data_audit.md)" in beyond
    assert "(tables/comparison.md)" not in beyond and "(pareto.pdf)" not in beyond


def test_nothing_reproduces():
    _, sections = _sections(
        regression=[_row("telescopic", 80.0, 85.58, "differs")],
        cost=_cost(telescopic=605_089),
        dsc=_dsc(0.84, 0.85, 0.87),
        components=_components(+0.5),
        comparison=_comparison(0.6, 0.3, 0.9),
    )
    assert "**Does not reproduce**: 605,089 trained parameters" in sections[1]
    assert "**Does not reproduce**: 0 of 1 measured rows" in sections[2] and "-5.58" in sections[2]
    assert "**Does not reproduce**: Telescopic Adapters is on" in sections[4]
    assert "a higher average DSC is reached by Uniform adapters" in sections[4]
    assert "**Does not reproduce** the remark" in sections[5]
    assert "**Contradicted**" in sections[6] and "-0.60 DSC points" in sections[6]


def test_an_interval_around_zero_shows_nothing():
    _, sections = _sections(comparison=_comparison(-0.2, -0.6, 0.2))
    assert "**Not shown**" in sections[6]


def test_rows_are_counted_in_part_and_where_they_were_not_run():
    rows = [
        _row("telescopic", 85.5, 85.58, "reproduces"),
        _row("decoder_only", 80.0, 83.33, "differs", method="end_to_end"),
        _row("cris", None, 86.93, "not run"),
        _row("vlsm_dense", None, 89.10, "not run", "kvasir_seg", "vlsm-adapter"),
    ]
    _, sections = _sections(regression=rows)
    assert "**In part**: 1 of 2 measured rows within tolerance; 1 not run; largest difference -3.33" in sections[2]
    assert "CLIPSeg, decoder only (reported as CLIPSeg, end-to-end)" in sections[2]
    assert "| CRIS | Average | 86.93 | n/a | n/a | not run |" in sections[2]
    assert "**Not run**: none of its 1 rows." in sections[3]


def test_a_note_makes_everything_not_comparable_and_gives_the_reason():
    rows = [_row("telescopic", 60.0, 85.58, "not comparable"), _row("cris", None, 86.93, "not run")]
    head, sections = _sections(regression=rows, cost=_cost(telescopic=20_000), note=NOTE)
    assert f"> {NOTE}" in head
    for number in (1, 2, 4, 5, 6):
        assert "**Not comparable**: phantom images; a tiny backbone" in sections[number]
        assert "**Reproduces" not in sections[number] and "**Supported" not in sections[number]
    assert "(1 of 2 rows measured; 1 not run)" in sections[2]


def test_what_is_missing_is_not_run():
    _, sections = _sections(
        regression=[], components=None, comparison=None, dsc=_dsc(0.8, 0.8, 0.8)[1:], cost=_cost().drop("telescopic")
    )
    for number in (1, 2, 4, 5, 6):
        assert "Not run" in sections[number], number


def test_command_line(tmp_path):
    rows = [_row("telescopic", 85.5, 85.58, "reproduces")]
    (tmp_path / "regression.json").write_text(json.dumps({"rows": rows}))
    _dsc(0.86, 0.85, 0.87).to_csv(tmp_path / "dsc.csv", index=False)
    _cost().to_csv(tmp_path / "cost.csv")
    options = [
        "--regression",
        tmp_path / "regression.json",
        "--dsc",
        tmp_path / "dsc.csv",
        "--cost",
        tmp_path / "cost.csv",
    ]
    options += [
        "--reported",
        REPORTED,
        "--variants",
        ["telescopic", "uniform"],
        "--labels",
        LABELS,
        "--figures",
        ["pareto"],
    ]
    run_main(module, *options, "--output", tmp_path / "paper.md")
    first = (tmp_path / "paper.md").read_bytes()
    run_main(module, *options, "--output", tmp_path / "paper.md")
    assert (tmp_path / "paper.md").read_bytes() == first
    assert first.decode().startswith("# The paper and this study\n") and b"(pareto.png)" in first


@pytest.mark.parametrize("content", ["{", '{"rows": [{"verdict": "pass"}]}', "[]"])
def test_a_broken_regression_file_is_named(tmp_path, content):
    (tmp_path / "regression.json").write_text(content)
    with pytest.raises(PipelineError, match=r"regression.json: cannot be read"):
        read_regression(tmp_path / "regression.json")

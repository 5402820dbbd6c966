"""Table ``main``: cells against hand-computed values, sources, marks, what was not run."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import REPORTED, run_main

from pipeline.reporting.markup import Cell
from pipeline.reporting.tables import main
from pipeline.reporting.tables.scores import Scores
from pipeline.runtime.errors import PipelineError

VARIANTS, DATASETS = ["telescopic", "uniform", "end_to_end"], ["isic16", "busi"]
COMPARISON = pd.DataFrame(
    {
        "dataset": ["isic16", "busi", "average", "busi"],
        "variant": ["uniform", "uniform", "uniform", "end_to_end"],
        "reference": "telescopic",
        "margin": 1.5,
        "outcome": ["better", "equivalent", "not resolved", "worse"],
    }
)


@pytest.fixture
def build(dsc, facts, labels):
    def built(variants=VARIANTS, datasets=DATASETS, comparison=COMPARISON[:0]):
        return main.build(Scores(dsc, variants, datasets, facts), comparison, labels)

    return built


def test_cells(build):
    frame, table = build()
    row = frame.set_index("variant").loc["telescopic"]
    assert row["busi"] == 64.0 and row["busi_sd"] == 4.0 and row["busi_seeds"] == 3
    assert row["busi_reported"] == 65.90 and row["busi_source"] == "paper"
    assert row["average"] == 77.5 and row["average_sd"] == 2.5 and row["average_reported"] == 85.58
    assert list(table.header) == ["Method", "ISIC 2016", "BUSI", "Average"]
    cells = dict(table.rows)
    assert cells["Telescopic Adapters"][1] == Cell("64.00", "4.00", "best", "", "65.90", "a")
    # 64.00 and 64.00 share the mark; the next distinct value is second.
    assert cells["Uniform adapters"][1] == Cell("64.00", None, "best")
    assert cells["CLIPSeg, end-to-end"][1] == Cell("50.00", None, "second", "", "62.91", "b")
    assert cells["CRIS (reported only)"][1] == Cell("n/a", None, None, "", "67.50", "b")


def test_what_was_not_run_is_na_and_never_zero(build):
    frame, table = build([*VARIANTS, "lora"])
    assert dict(table.rows)["CLIPSeg, end-to-end"][0].value == "n/a"
    assert [cell.value for cell in dict(table.rows)["LoRA"]] == ["n/a"] * 3
    row = frame.set_index("variant").loc["lora"]
    assert pd.isna(row["average"]) and row["average_seeds"] == 0


def test_reported_end_to_end_is_explained_where_it_is_shown(build):
    _, table = build()
    assert any("only CLIPSeg's decoder" in footnote for footnote in table.footnotes)
    assert any("(a)" in footnote and "(b)" in footnote for footnote in table.footnotes)
    _, table = build(["telescopic"], ["busi"])
    assert not any("only CLIPSeg's decoder" in footnote for footnote in table.footnotes)
    assert list(table.header) == ["Method", "BUSI"]


def test_the_spread_over_prompts_and_cases_with_a_target_have_columns(dsc, facts, labels):
    busi = dsc["dataset"] == "busi"
    dsc = dsc.assign(prompt_sd=0.03, cases=4, cases_with_target=4 - busi, dsc_with_target=dsc["dsc"] - 0.1 * busi)
    frame, table = main.build(Scores(dsc, VARIANTS, DATASETS, facts), COMPARISON[:0], labels)
    assert list(table.header) == ["Method", "ISIC 2016", "BUSI", "BUSI, with target", "Average", "SD over prompts"]
    cells = dict(table.rows)["Telescopic Adapters"]
    assert cells[2] == Cell("54.00", "4.00", "best") and cells[4] == Cell("3.00")
    assert frame.set_index("variant").loc["telescopic", "busi_with_target"] == pytest.approx(54)
    assert dict(table.rows)["CRIS (reported only)"][2].value == "n/a"
    notes = " ".join(table.footnotes)
    assert "With target: over the test cases" in notes and "standard deviation over prompt types" in notes


def test_marks_tell_the_outcomes_apart(build):
    _, table = build(comparison=COMPARISON)
    cells = dict(table.rows)
    assert [cell.mark for cell in cells["Uniform adapters"]] == ["+", "=", ""]
    assert [cell.mark for cell in cells["CLIPSeg, end-to-end"]] == ["", "−", ""]
    assert not any(cell.mark for cell in cells["Telescopic Adapters"])
    (note,) = [footnote for footnote in table.footnotes if "Holm" in footnote]
    assert "Against Telescopic Adapters: + better, − worse, = equivalent, no mark: not resolved" in note
    assert "less than 1.5 DSC points apart" in note
    _, table = build()
    assert not any("Holm" in footnote for footnote in table.footnotes)


def test_command_line_writes_the_same_bytes_twice(tmp_path):
    runs = [write_run(tmp_path, "busi", variant, 41, [0.5, 0.7]) for variant in VARIANTS]
    dsc = write_dsc_of(tmp_path, runs)
    COMPARISON.to_csv(tmp_path / "comparison.csv", index=False)
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--reported", REPORTED, "--datasets", ["busi"]]
    options += ["--comparison", tmp_path / "comparison.csv", "--note", "Demo.", "--labels", {"busi": "BUSI"}]
    written = []
    for attempt in ("first", "second"):
        run_main(main, *options, "--variants", [*VARIANTS, "lora"], "--output", tmp_path / attempt / "main")
        written.append([(tmp_path / attempt / f"main.{end}").read_bytes() for end in ("csv", "md", "tex")])
    assert written[0] == written[1]
    assert b"> Demo." in written[0][1] and b"Made from 3 runs" in written[0][1]
    assert b"% Made from 3 runs" in written[0][2] and b"\\item Demo." in written[0][2]
    assert b"\nlora,lora,False,n/a,n/a,0," in written[0][0]
    with pytest.raises(PipelineError, match="--variants: not valid JSON"):
        run_main(main, *options, "--variants", "[", "--output", tmp_path / "main")

"""per_case.csv: reading, refusing and summarising it."""

import math

import pandas as pd
import pytest
from evaluation_support import write_run

from pipeline.evaluation.per_case import (
    COLUMNS,
    FURTHER,
    SCORED,
    over_prompts,
    prompt_sd,
    read_per_case,
    read_per_prompt,
    summarise,
)
from pipeline.runtime.errors import PipelineError

ROWS = [
    ("a", "", 0.5, 0.25, 4.0, 0.6, 0.1, 10, 12, 0.4, 0.5, 0.3, 0.8, 0.6),  # an ordinary case
    ("b", "", 0.0, 0.0, 50.0, 0.0, 0.2, 10, 0, 0.0, 0.0, 0.0, 0.0, 0.2),  # a miss
    ("c", "", 1.0, 1.0, 0.0, 1.0, 0.0, 0, 0, 1.0, 1.0, 1.0, 1.0, 1.0),  # no target, and none predicted
    ("d", "", 0.0, 0.0, 50.0, 0.0, 0.3, 0, 3, 0.0, 0.0, 0.0, 0.0, 0.0),  # a false alarm
]
TABLE = pd.DataFrame(ROWS, columns=[*SCORED, *FURTHER])


def test_summary_of_literal_cases():
    cases = over_prompts([TABLE], ["p1"])
    expected = {"cases": 4, "dsc": 0.375, "iou": 0.3125, "hd95": 26.0, "nsd": 0.4, "ece": pytest.approx(0.15)}
    assert summarise(cases) == expected | {"misses": 1, "cases_with_target": 2, "dsc_with_target": 0.25}


def test_a_case_under_several_prompts_counts_once_with_their_mean():
    scores = {"dsc": [0.7, 0.4, 1, 1], "hd95": [2, 8, 0, 0], "ece": 0.5, "predicted_pixels": [14, 9, 0, 0]}
    second = TABLE.assign(prompt="another", **scores)
    table = over_prompts([TABLE, second], ["p1", "p2"]).set_index("case")
    assert list(table.reset_index().columns) == list(COLUMNS)
    assert table["dsc"].tolist() == pytest.approx([0.6, 0.2, 1, 0.5])
    assert table["dsc_prompt_sd"].tolist() == pytest.approx([0.1 * 2**0.5, 0.2 * 2**0.5, 0, 0.5**0.5])
    assert table["predicted_pixels"].tolist() == [13, 4.5, 0, 1.5]
    assert table["ece"].tolist() == pytest.approx([0.3, 0.35, 0.25, 0.4])
    assert table["dsc_prompt_ensemble"].tolist() == TABLE["dsc_prompt_ensemble"].tolist()
    # Case b is missed under one prompt of two; the empty target of c cannot be missed.
    assert table["missed"].tolist() == [0, 0.5, 0, 0]
    assert summarise(table)["misses"] == 0.5
    assert set(table["prompt"]) == {"p1 p2"}
    alone = over_prompts([second], ["p2"])
    assert alone["dsc_prompt_sd"].isna().all() and set(alone["prompt"]) == {"another"}


def test_the_spread_of_the_test_set_over_prompt_types():
    table = pd.DataFrame({"prompt_type": ["p0", "p0", "p1", "p1", "p2", "p2"], "dsc": [0, 0, 0.5, 0.7, 0.9, 0.7]})
    assert prompt_sd(table) == pytest.approx(0.1 * 2**0.5)
    assert math.isnan(prompt_sd(table[:4])) and math.isnan(prompt_sd(table[:2]))


def test_scores_are_read_as_they_were_written(tmp_path):
    dsc = [1 / 3, 0.1 + 0.2, math.nextafter(1, 0), 0.0]
    run = write_run(tmp_path, "busi", "lora", 41, dsc, cases=["007", "NA", "1e5", "benign (1)"])
    table = read_per_case(run.folder)
    assert list(table["case"]) == ["007", "NA", "1e5", "benign (1)"]
    assert list(table["dsc"]) == dsc  # to the last bit
    assert table["target_pixels"].dtype == int
    assert table["dsc_prompt_sd"].isna().all()  # scored under one prompt type
    path = run.folder / "per_case.csv"
    path.write_text(path.read_text().replace(",90,,", ",90,0.05,"))
    assert set(read_per_case(run.folder)["dsc_prompt_sd"]) == {0.05}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dsc,iou", "dice,iou", "column dsc is missing"),
        ("000,a polyp,0.5,0.3333333333333333,20.0,100,90,,0,0.5,0.5,0.5,0.5,0.1,0.5,0.5\n", "", "holds no case"),
        ("a polyp,0.5,", "a polyp,1.5,", r"dsc of case 000 is '1.5', not 0\.\.1"),
        ("a polyp,0.5,", "a polyp,,", "dsc of case 000 is ''"),
        ("a polyp,0.5,", "a polyp,nan,", "dsc of case 000 is 'nan'"),
        (",90,", ",many,", "predicted_pixels of case 000 is 'many', not 0 or more"),
        (",100,", ",-1,", "target_pixels of case 000 is '-1'"),
        (",90,,", ",90,none,", r"dsc_prompt_sd of case 000 is 'none', not 0\.\.1"),
        (",0.1,0.5,0.5\n", ",0.1,,0.5\n", "dsc_prompt_ensemble of case 000 is ''"),
        (",0.1,0.5,0.5\n", ",0.1,0.5,2\n", "dsc_tuned_threshold of case 000 is '2'"),
    ],
)
def test_a_damaged_file(tmp_path, old, new, message):
    path = write_run(tmp_path, "busi", "lora", 41, [0.5]).folder / "per_case.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineError, match=message) as error:
        read_per_case(path.parent)
    assert str(path) in str(error.value)


def test_all_cases_are_scored_under_each_prompt_type(tmp_path):
    run = write_run(tmp_path, "busi", "lora", 41, [0.5, 0.7], types={"p1": 1, "p2": 0.5})
    table = read_per_prompt(run.folder)
    assert table["dsc"].tolist() == [0.5, 0.7, 0.25, 0.35]
    path = run.folder / "per_prompt.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.raises(PipelineError, match="other cases under p2 than under p1"):
        read_per_prompt(run.folder)

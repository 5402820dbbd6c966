"""per_case.csv: reading, refusing and summarising it."""

import math

import pandas as pd
import pytest
from evaluation_support import write_run

from pipeline.evaluation.per_case import COLUMNS, read_per_case, summarise
from pipeline.runtime.errors import PipelineError


def test_summary_of_literal_cases():
    cases = [
        ("a", "", 0.5, 0.25, 4.0, 10, 12),  # an ordinary case
        ("b", "", 0.0, 0.0, 50.0, 10, 0),  # a miss
        ("c", "", 1.0, 1.0, 0.0, 0, 0),  # no target, and none predicted
        ("d", "", 0.0, 0.0, 50.0, 0, 3),  # a false alarm
    ]
    summary = summarise(pd.DataFrame(cases, columns=COLUMNS))
    assert summary == {"cases": 4, "dsc": 0.375, "iou": 0.3125, "hd95": 26.0, "misses": 1}


def test_scores_are_read_as_they_were_written(tmp_path):
    dsc = [1 / 3, 0.1 + 0.2, math.nextafter(1, 0), 0.0]
    run = write_run(tmp_path, "busi", "lora", 41, dsc, cases=["007", "NA", "1e5", "benign (1)"])
    table = read_per_case(run.folder)
    assert list(table["case"]) == ["007", "NA", "1e5", "benign (1)"]
    assert list(table["dsc"]) == dsc  # to the last bit
    assert table["target_pixels"].dtype == int


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dsc,iou", "dice,iou", "column dsc is missing"),
        ("000,a polyp,0.5,0.3333333333333333,20.0,100,90\n", "", "holds no case"),
        ("a polyp,0.5,", "a polyp,1.5,", r"dsc of case 000 is '1.5', not 0\.\.1"),
        ("a polyp,0.5,", "a polyp,,", "dsc of case 000 is ''"),
        ("a polyp,0.5,", "a polyp,nan,", "dsc of case 000 is 'nan'"),
        (",90\n", ",many\n", "predicted_pixels of case 000 is 'many', not 0 or more"),
        (",100,", ",-1,", "target_pixels of case 000 is '-1'"),
    ],
)
def test_a_damaged_file(tmp_path, old, new, message):
    path = write_run(tmp_path, "busi", "lora", 41, [0.5]).folder / "per_case.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(PipelineError, match=message) as error:
        read_per_case(path.parent)
    assert str(path) in str(error.value)

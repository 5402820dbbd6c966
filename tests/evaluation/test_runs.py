"""The runs that a table lists."""

import pytest

from pipeline.evaluation.runs import listed_runs
from pipeline.runtime.errors import PipelineError


def test_listed_runs(tmp_path):
    table = tmp_path / "dsc.csv"
    table.write_text("seed,dataset,dsc,variant\n7,busi,0.5,lora\n41,bkai,0.25,telescopic\n")
    first, second = listed_runs("results", table)
    assert first[:3] == ("busi", "lora", 7) and str(first) == "busi/lora/seed7"
    assert str(second.folder) == "results/runs/bkai/telescopic/seed41"
    assert str(second.within("results/transfer")) == "results/transfer/bkai/telescopic/seed41"
    assert sorted([first, second]) == [second, first]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dataset,variant,seed\n", "lists no run"),
        ("dataset,variant\nbusi,lora\n", "column seed is missing"),
        ("dataset,variant,seed\nbusi,lora,1\nbusi,lora,1\n", "busi/lora/1 is listed more than once"),
    ],
)
def test_a_table_that_lists_no_runs(tmp_path, content, message):
    (tmp_path / "dsc.csv").write_text(content)
    with pytest.raises(PipelineError, match=rf"dsc\.csv: .*{message}"):
        listed_runs(tmp_path, tmp_path / "dsc.csv")

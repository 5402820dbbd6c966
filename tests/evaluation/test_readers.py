"""The result tables that tables and figures read."""

import pytest
from evaluation_support import write_run

from pipeline.evaluation.readers import dataset_order, read_cases, read_cost, read_dsc, read_reported
from pipeline.runtime.errors import PipelineError


def test_cases_of_several_runs_keep_their_names_as_text(tmp_path):
    runs = [write_run(tmp_path, "busi", variant, 41, [0.25, 0.5], cases=["007", "08"]) for variant in ("lora", "dense")]
    cases = read_cases(runs)
    assert cases["case"].tolist() == ["007", "08"] * 2
    assert cases[["dataset", "variant", "seed", "dsc"]].iloc[3].tolist() == ["busi", "dense", 41, 0.5]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_dsc, "dataset,variant,seed,dsc\nbusi,lora,41,0.5\nbusi,lora,41,0.6\n", "busi/lora/41 is listed more"),
        (read_cost, "variant\nlora\n", "column trainable_parameters is missing"),
        (read_reported, "method,dataset,value\n", "column metric, trainable_parameters, source is missing"),
    ],
)
def test_tables_that_are_refused(tmp_path, read, content, message):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(PipelineError, match=message):
        read(tmp_path / "table.csv")


def test_cost_is_by_variant(tmp_path):
    (tmp_path / "cost.csv").write_text("variant,trainable_parameters\nlora,7\ndense,8\n")
    assert read_cost(tmp_path / "cost.csv").loc["dense", "trainable_parameters"] == 8


def test_datasets_keep_the_order_of_first_appearance():
    assert dataset_order(["other", "busi", "kvasir_seg", "busi"]) == ["other", "busi", "kvasir_seg"]

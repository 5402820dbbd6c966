"""Scores paired by case."""

import pytest
from evaluation_support import write_run

from pipeline.evaluation.pairing import pair_cases
from pipeline.runtime.errors import PipelineError


def test_scores_are_averaged_over_seeds_and_prompts_then_paired_by_case(tmp_path):
    runs = [
        write_run(tmp_path, "busi", "telescopic", 41, [0.2, 0.8], cases=["a", "b"]),
        write_run(tmp_path, "busi", "telescopic", 42, [1.0, 0.4], cases=["b", "a"]),  # another order of cases
        write_run(tmp_path, "busi", "lora", 41, [0.5, 0.7, 0.1], cases=["b", "a", "a"]),  # a case under two prompts
        write_run(tmp_path, "bkai", "lora", 41, [0.5]),
    ]
    paired = pair_cases(runs)
    assert list(paired) == ["busi", "bkai"]
    scores, seeds = paired["busi"]
    assert list(scores) == ["telescopic", "lora"]
    assert seeds == {"telescopic": 2, "lora": 1}
    assert scores["telescopic"].to_dict() == pytest.approx({"a": 0.3, "b": 0.9})
    assert scores["lora"].to_dict() == pytest.approx({"a": 0.4, "b": 0.5})


@pytest.mark.parametrize("variant", ["lora", "telescopic"])
def test_runs_on_different_cases_are_not_paired(tmp_path, variant):
    runs = [
        write_run(tmp_path, "busi", "telescopic", 41, [0.2, 0.8], cases=["a", "b"]),
        write_run(tmp_path, "busi", variant, 42, [0.2], cases=["a"]),
    ]
    with pytest.raises(PipelineError, match=f"busi/{variant}/seed42: no score for case 'b', which other runs have"):
        pair_cases(runs)

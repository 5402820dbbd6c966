"""The variants that the family tuning derives."""

from pathlib import Path

import pytest
import yaml

from pipeline.config import load_study, merge
from pipeline.runtime.errors import PipelineError
from pipeline.trials import expand, trials, tuned

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text())


def study(**tuning):
    return load_study(merge(CONFIG, {"tuning": tuning}))


def test_every_method_has_as_many_trials_and_its_own_rates_among_them():
    grids = trials(study())
    assert list(grids) == CONFIG["tuning"]["variants"]
    for method, points in grids.items():
        assert [point.factor for point in points] == [0.1, 0.3, 1, 3, 10]
        assert [point.variant for point in points if point.factor == 1] == [method]
    assert [point.rates["learning_rate"] for point in grids["vlsm_shallow"]] == [3e-5, 9e-5, 3e-4, 9e-4, 3e-3]


def test_rates_by_part_of_the_model_keep_their_ratio():
    rates = [point.rates["learning_rates"] for point in trials(study())["end_to_end"]]
    assert rates[0] == {"encoders": 1e-6, "decoder": 1e-4} and rates[3] == {"encoders": 3e-5, "decoder": 3e-3}
    assert [rate["decoder"] / rate["encoders"] for rate in rates] == pytest.approx([100] * 5)


def test_weight_decays_are_crossed_with_rates():
    (points,) = trials(study(variants=["lora"], factors=[1, 3], weight_decays=[1e-3, 0.05])).values()
    assert [(point.factor, point.rates["weight_decay"]) for point in points] == [
        (1, 1e-3),
        (1, 0.05),
        (3, 1e-3),
        (3, 0.05),
    ]
    names = [point.variant for point in points]
    assert names == ["lora", "lora_rate_1_decay_0_05", "lora_rate_3_decay_0_001", "lora_rate_3_decay_0_05"]


def test_derived_variants_differ_from_their_method_in_the_rates_alone():
    whole = expand(study())
    own, trial = (whole.training_of(name).model_dump() for name in ("end_to_end", "end_to_end_rate_0_1"))
    assert {name for name in own if own[name] != trial[name]} == {"learning_rate", "learning_rates"}
    assert whole.variants["end_to_end_rate_0_1"].settings == whole.variants["end_to_end"].settings
    name = tuned("vlsm_shallow")
    assert whole.is_tuned(name) and whole.method_of(name) == "vlsm_shallow"
    assert whole.label(name) == "VLSM-Adapter (shallow), tuned"
    assert not whole.is_tuned("vlsm_shallow_rate_3")


def test_methods_of_one_model_keep_their_own_choices():
    whole = expand(study(variants=["end_to_end_single_rate", "end_to_end"]))
    for method in ("end_to_end", "end_to_end_single_rate"):
        assert whole.method_of(tuned(method)) == method
    assert whole.method_of("end_to_end_data_05") == "end_to_end_single_rate"


def test_a_study_without_the_family_or_its_datasets_is_left_as_it_is():
    config = CONFIG | {"tuning": None}
    assert expand(load_study(config)).variants.keys() == CONFIG["variants"].keys()
    assert trials(load_study(CONFIG | {"datasets": ["bkai"], "ablations": {}, "leaks": None})) == {}


def test_a_name_that_is_taken_is_refused():
    config = merge(CONFIG, {"variants": {"lora_tuned": {"kind": "lora"}}})
    with pytest.raises(PipelineError, match=r"variants\.lora_tuned: the family tuning makes a variant of this name"):
        expand(load_study(config))

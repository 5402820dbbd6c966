"""What figures are drawn from: intervals, fronts, schedules, chosen cases; against oracles where there are any."""

import json

import numpy as np
import pandas as pd
import pytest
from reporting_support import DEPTH, write_alphas, write_dataset, write_runs
from scipy.stats import bootstrap

from pipeline.evaluation.intervals import summarise_family
from pipeline.evaluation.readers import dataset_order, read_cases, variant_label
from pipeline.evaluation.runs import parse_runs
from pipeline.models.kinds import parse_variant
from pipeline.reporting.figures.alpha_by_depth import read_alphas
from pipeline.reporting.figures.cost_by_variant import _unit, read_manifests
from pipeline.reporting.figures.data_overview import QUANTILES, choose_cases
from pipeline.reporting.figures.dots import far_rows
from pipeline.reporting.figures.pareto import count, front
from pipeline.reporting.figures.schedules import schedule
from pipeline.runtime.errors import PipelineError


def _cases(scores):
    """Rows from {(dataset, variant, seed): scores}."""
    return pd.concat(
        pd.DataFrame(
            {"dataset": dataset, "variant": variant, "seed": seed, "case": [f"c{i}" for i in range(len(values))]}
        ).assign(dsc=values)
        for (dataset, variant, seed), values in scores.items()
    )


def test_family_means_and_differences_by_hand():
    cases = _cases(
        {
            ("busi", "a", 1): [0.2, 0.4],
            ("busi", "a", 2): [0.4, 0.6],
            ("busi", "b", 1): [0.5, 0.7],
            ("isic16", "a", 1): [0.8, 0.9, 1.0],
            ("isic16", "b", 1): [0.7, 0.7, 0.7],
        }
    )
    table = summarise_family(cases, ["a", "b"], "a", samples=500).set_index(["dataset", "variant"])
    assert list(table.index.get_level_values(0).unique()) == ["isic16", "busi", "average"]
    assert table.loc[("busi", "a"), "mean"] == pytest.approx(0.4)
    assert table.loc[("busi", "b"), "difference"] == pytest.approx(0.2)
    assert table.loc[("average", "a"), "mean"] == pytest.approx((0.4 + 0.9) / 2)
    assert table.loc[("average", "b"), "difference"] == pytest.approx((0.2 - 0.2) / 2)
    # Both cases of BUSI differ by the same amount: resampling cannot change the difference.
    row = table.loc[("busi", "b")]
    assert row["difference_low"] == pytest.approx(0.2) and row["difference_high"] == pytest.approx(0.2)
    assert row["low"] == pytest.approx(0.5) and row["high"] == pytest.approx(0.7)


def test_intervals_agree_with_scipy():
    generator = np.random.default_rng(3)
    a, b = generator.beta(8, 2, 60), generator.beta(7, 2, 60)
    table = summarise_family(_cases({("busi", "a", 1): a, ("busi", "b", 1): b}), ["a", "b"], "a").set_index("variant")
    for low, high, sample in (("low", "high", b), ("difference_low", "difference_high", b - a)):
        oracle = bootstrap((sample,), np.mean, n_resamples=20_000, method="percentile", rng=generator)
        expected = oracle.confidence_interval
        width = expected.high - expected.low
        assert table.loc["b", low] == pytest.approx(expected.low, abs=0.03 * width)
        assert table.loc["b", high] == pytest.approx(expected.high, abs=0.03 * width)


def test_a_variant_without_a_run_is_nan_and_leaves_the_others_alone():
    cases = _cases({("busi", "a", 1): [0.2, 0.4], ("isic16", "a", 1): [0.5, 0.7], ("isic16", "b", 1): [0.6, 0.6]})
    table = summarise_family(cases, ["a", "b"], "a", samples=200).set_index(["dataset", "variant"])
    for dataset in ("busi", "average"):
        assert table.loc[(dataset, "b")].isna().all()
    assert table.loc[("average", "a"), "mean"] == pytest.approx(0.45)


def test_a_variant_that_lacks_a_case_is_an_error():
    cases = _cases({("busi", "a", 1): [0.2, 0.4], ("busi", "b", 1): [0.6]})
    with pytest.raises(PipelineError, match="busi/b: case 'c1' has no score"):
        summarise_family(cases, ["a", "b"], "a")
    with pytest.raises(PipelineError, match="'c' is not among the variants"):
        summarise_family(cases, ["a", "b"], "c")
    with pytest.raises(PipelineError, match="none of the runs"):
        summarise_family(cases, ["x", "y"], "x")


def test_front_is_what_no_other_point_beats():
    points = [(0, 30), (613, 85), (613, 84), (1127, 82), (3237, 85), (150_000, 86)]
    assert front(points) == [(0, 30), (613, 85), (150_000, 86)]
    generator = np.random.default_rng(1)
    cloud = [tuple(point) for point in generator.integers(0, 20, (60, 2))]
    by_definition = {(x, y) for x, y in cloud if not any((a <= x and b >= y) and (a < x or b > y) for a, b in cloud)}
    assert set(front(cloud)) == by_definition


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (48, "48"), (613_297, "613k"), (1_127_009, "1.13M"), (150_747_746, "151M"), (999_900, "1M")],
)
def test_counts_are_short(value, text):
    assert count(value) == text


@pytest.mark.parametrize("variant", [name for name in DEPTH if name != "lora"])
def test_schedules_say_what_the_model_gets(variant):
    settings = parse_variant(DEPTH[variant])
    drawn = schedule(variant, DEPTH[variant])

    class Recorder:
        """Stands for the segmenter: notes which adapters a variant adds."""

        def __init__(self):
            from transformers import CLIPSegConfig

            self.clipseg = type("Clipseg", (), {"config": CLIPSegConfig()})
            self.clipseg.config.vision_config.hidden_size = 768
            self.widths = {}

        def add_adapter(self, name, module):
            if hasattr(module, "down"):
                self.widths[name] = module.down.out_features

    recorder = Recorder()
    settings.attach(recorder)
    expected = {
        f"{branch}_{layer}_{place}": width
        for branch, places in (("vision", drawn.vision), ("text", drawn.text))
        for place, widths in places.items()
        for layer, width in widths.items()
    }
    expected["conditional"] = drawn.conditional
    assert recorder.widths == expected


def test_kinds_without_telescopic_adapters_have_no_schedule():
    assert schedule("lora", {"kind": "lora"}) is None


def test_far_rows_are_few_and_far():
    lows, highs = [-50.5, -3.0, -1.0, -1.0, np.nan], [-50.1, -2.0, 1.0, 1.0, np.nan]
    assert far_rows(lows, highs) == [True, False, False, False, False]
    assert far_rows([-50, -45, -2, -1, -1], [-49, -44, 0, 0, 0]) == [True, True, False, False, False]
    assert far_rows([-5, -3, -3, -3], [-4, 1, 1, 1]) == [False] * 4
    # Too few others to say which is the odd one out; the reference's row of zeros does not count.
    assert far_rows([-50, -1, -1], [-49, 1, 1]) == [False] * 3
    assert far_rows([-50, 0, -1, -1], [-49, 0, 1, 1]) == [False] * 4
    assert far_rows([0, 0, 0], [0, 0, 0]) == [False] * 3


def test_overview_shows_quantiles_of_the_cases_with_foreground():
    cases = pd.DataFrame({"case": [f"c{i:02d}" for i in range(21)], "foreground": [0, *range(1, 21)]})
    cases["share"] = cases["foreground"] / 100
    chosen = choose_cases(cases)
    assert chosen["foreground"].tolist() == [2, 6, 11, 15, 19]
    assert len(QUANTILES) == 5
    assert choose_cases(cases[:3])["case"].tolist() == ["c01", "c02"]
    assert choose_cases(cases[:1]).empty


def test_write_dataset_is_read_as_it_was_written(tmp_path):
    from pipeline.reporting.figures.data_overview import _read_cases

    folder = write_dataset(tmp_path, "busi", cases=3, shape=(20, 30))
    cases = _read_cases(folder)
    assert cases["share"].iloc[-1] == 0 and cases["share"].iloc[0] == cases["foreground"].iloc[0] / 600


def test_alphas_are_read_by_layer_and_branch(tmp_path):
    settings = {"telescopic": {"kind": "telescopic", "alpha": 0.25}}
    folders = write_runs(tmp_path, ["busi"], ["telescopic"], [41], cases=2, epochs=1)
    write_alphas(folders, settings)
    alphas = read_alphas(parse_runs(folders))
    assert alphas["start"].unique().tolist() == [0.25]
    vision = alphas[(alphas["branch"] == "vision") & (alphas["place"] == "mlp")]
    assert vision["layer"].tolist() == list(range(1, 10))
    assert set(alphas.loc[alphas["branch"] == "text", "layer"]) == {10, 11, 12}
    assert alphas.loc[alphas["branch"] == "conditional", "alpha"].item() == pytest.approx(0.40)
    path = parse_runs(folders)[0].folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(PipelineError, match=r"weights.safetensors: cannot be read"):
        read_alphas(parse_runs(folders))


def test_manifests_prefer_the_gpus_memory(tmp_path):
    folders = write_runs(tmp_path, ["busi"], ["telescopic", "zero_shot"], [41], cases=2, epochs=1)
    for folder, memory, seconds in zip(
        parse_runs(folders), ({"host_mib": 512, "gpu_mib": 2048}, {"host_mib": 512}), (90, 0), strict=True
    ):
        record = {"peak_memory": memory, "training_seconds": seconds}
        (folder.folder / "manifest.json").write_text(json.dumps(record))
    table = read_manifests(parse_runs(folders))
    assert table.to_dict("records") == [{"variant": "telescopic", "memory_gib": 2.0, "seconds": 90.0, "on_gpu": True}]


@pytest.mark.parametrize(("seconds", "unit"), [(4, "seconds"), (119, "seconds"), (120, "minutes"), (7200, "hours")])
def test_times_have_a_fitting_unit(seconds, unit):
    assert _unit(seconds)[0] == unit


def test_cases_keep_their_names_as_text(tmp_path):
    (folder,) = write_runs(tmp_path, ["busi"], ["telescopic"], [41], cases=2, epochs=1)
    path = parse_runs([folder])[0].folder / "per_case.csv"
    path.write_text(path.read_text().replace("case000", "007"))
    cases = read_cases(parse_runs([folder]))
    assert cases["case"].tolist() == ["007", "case001"]
    assert cases[["dataset", "variant", "seed"]].iloc[0].tolist() == ["busi", "telescopic", 41]


def test_order_and_names_of_datasets_and_variants():
    assert dataset_order(["other", "busi", "kvasir_seg", "busi", "average"]) == [
        "kvasir_seg",
        "busi",
        "average",
        "other",
    ]
    assert variant_label({"lora": "LoRA, r = 9"}, "lora") == "LoRA, r = 9"
    assert variant_label({}, "san") == "SAN" and variant_label({}, "new") == "new"

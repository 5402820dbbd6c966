"""Figure ``overview``: values, outcomes and reported numbers, with many, few and missing runs."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from reporting_support import (
    DATASETS,
    EASE,
    LABELS,
    QUALITY,
    REPORTED,
    TITLES,
    VARIANTS,
    clipped,
    overlaps,
    run_main,
    texts,
    too_small,
)

from pipeline.evaluation.methods import compare_methods
from pipeline.reporting.figures import overview
from pipeline.reporting.figures.dots import OUTCOME_DOTS
from pipeline.runtime.errors import PipelineError

NOTE = "Not comparable with the paper: phantom images; a tiny backbone pretrained on coloured shapes."


@pytest.fixture
def draw(tmp_path):
    """The figure of made-up runs of ``variants`` on ``datasets``; ``missing`` are those that were not run."""

    def drawn(datasets, variants, seeds, *options, missing=(), spread=0.003) -> Figure:
        generator = np.random.default_rng(4)
        rows = [
            (dataset, variant, seed, "a", QUALITY[variant] + EASE[dataset] + spread * generator.normal())
            for dataset in datasets
            for variant in variants
            for seed in seeds
            if (dataset, variant) not in missing
        ]
        dsc = pd.DataFrame(rows, columns=["dataset", "variant", "seed", "case", "dsc"])
        dsc.to_csv(tmp_path / "dsc.csv", index=False)
        compared = compare_methods(dsc, "telescopic").assign(reference="telescopic", margin=1.0)
        compared.to_csv(tmp_path / "comparison.csv", index=False)
        files = ["--dsc", tmp_path / "dsc.csv", "--comparison", tmp_path / "comparison.csv"]
        names = ["--datasets", datasets, "--variants", variants, "--labels", LABELS | TITLES]
        with patch.object(Figure, "savefig", autospec=True) as savefig:
            run_main(overview, *files, *names, *options, "--output", tmp_path / "overview")
        return savefig.call_args.args[0]

    return drawn


def marks(axes) -> dict[float, tuple[str, float]]:
    """Marker and value of each row of a panel."""
    lines = [line for line in axes.lines if line.get_marker() in ("o", "s", "^", "v") and len(line.get_xdata()) == 1]
    return {line.get_ydata()[0]: (line.get_marker(), line.get_xdata()[0]) for line in lines}


def strokes(axes) -> dict[float, float]:
    """Reported number of each row of a panel."""
    return {line.get_ydata()[0]: line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"}


@pytest.mark.parametrize(
    ("datasets", "variants", "seeds", "missing"),
    [
        (DATASETS, VARIANTS, [41, 42, 43], ()),
        (DATASETS, VARIANTS, [41, 42], [("busi", "lora"), ("bkai", "vlsm_dense")]),
        (DATASETS[:2], [*VARIANTS[:2], "telescopic"], [41], ()),
        (DATASETS[:1], ["uniform", "telescopic"], [41, 42], ()),
    ],
)
def test_all_is_legible(draw, datasets, variants, seeds, missing):
    figure = draw(datasets, variants, seeds, "--published", REPORTED, "--note", NOTE, missing=missing)
    assert (overlaps(figure), clipped(figure), too_small(figure)) == ([], [], [])
    shown = [content for content, _ in texts(figure)]
    assert shown.count("n/a") == len(missing) + len({variant for _, variant in missing})


def test_values_and_outcomes(draw):
    figure = draw(DATASETS, VARIANTS, [41, 42, 43], spread=1e-6)
    average, *others = figure.axes
    assert average.get_title() == "Average" and [axes.get_title().replace("\n", " ") for axes in others] == [
        TITLES[dataset] for dataset in DATASETS
    ]
    found = marks(average)
    at = {variant: row for row, variant in enumerate(VARIANTS)}
    ease = sum(EASE.values()) / 5
    for variant in ("telescopic", "uniform", "end_to_end"):
        assert found[at[variant]][1] == pytest.approx(100 * (QUALITY[variant] + ease), abs=0.01)
    # In points: end-to-end +0.4 and uniform -0.5 (equivalent), LoRA -0.8, dense -1.1.
    expected = {"end_to_end": "equivalent", "uniform": "equivalent", "lora": "equivalent", "vlsm_dense": "worse"}
    assert {name: found[at[name]][0] for name in expected} == {
        name: OUTCOME_DOTS[outcome].marker for name, outcome in expected.items()
    }
    # Zero-shot is far outside: an arrow, with its value there and in the column of numbers.
    assert at["zero_shot"] not in found
    zero_shot = f"{100 * (QUALITY['zero_shot'] + ease):.1f}"
    assert [content for content, _ in texts(figure)].count(zero_shot) == 2


def test_intervals_over_seeds_run_out_of_the_panel_rather_than_hide_the_dots(draw):
    average = draw(DATASETS, VARIANTS[1:], [41, 42], spread=0.05).axes[0]
    low, high = average.get_xlim()
    assert high - low < 25
    assert all(low < value < high for _, value in marks(average).values())


def test_reported_numbers_are_drawn_beside_what_they_are_compared_with(draw):
    figure = draw(DATASETS, VARIANTS, [41, 42], "--published", REPORTED)
    at = {variant: row for row, variant in enumerate(VARIANTS)}
    average, kvasir = figure.axes[:2]
    assert strokes(average)[at["telescopic"]] == 85.58
    assert strokes(kvasir) == {
        **{at["decoder_only"]: 87.69, at["end_to_end"]: 87.69, at["vlsm_dense"]: 89.10},
        **{at["vlsm_shallow"]: 86.85, at["telescopic"]: 89.79},
    }
    # The paper's average is over five datasets, not over these two.
    assert strokes(draw(DATASETS[:2], VARIANTS, [41, 42], "--published", REPORTED).axes[0]) == {}
    assert "reported" not in [content for content, _ in texts(draw(DATASETS, VARIANTS, [41]))]


@pytest.mark.parametrize("variants", [["lora"], ["uniform"]])
def test_without_runs_of_the_variants_or_of_the_reference_there_is_nothing_to_draw(draw, tmp_path, variants):
    draw(DATASETS[:1], ["uniform", "telescopic"], [41])
    dsc = pd.read_csv(tmp_path / "dsc.csv")
    dsc[dsc["variant"] == "uniform"].to_csv(tmp_path / "dsc.csv", index=False)
    files = ["--dsc", tmp_path / "dsc.csv", "--comparison", tmp_path / "comparison.csv"]
    missing = "lora" if variants == ["lora"] else "telescopic"
    with pytest.raises(PipelineError, match=f"overview: no row for {missing}"):
        run_main(overview, *files, "--datasets", ["busi"], "--variants", variants, "--output", tmp_path / "overview")

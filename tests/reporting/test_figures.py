"""Every figure, with few and many variants: nothing overlaps, nothing is cut off, all is legible, numbers are right."""

import json
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from reporting_support import (
    DATASETS,
    DEPTH,
    LABELS,
    PARAMETERS,
    REPORTED,
    TITLES,
    VARIANTS,
    clipped,
    overlaps,
    run_main,
    texts,
    too_small,
    write_alphas,
    write_before_after,
    write_comparison,
    write_cost,
    write_dataset,
    write_gallery,
    write_manifests,
    write_methods,
    write_prompt_types,
    write_runs,
    write_transfer,
    write_tuning,
)

from pipeline.evaluation.demands import read_manifests
from pipeline.evaluation.readers import read_dsc
from pipeline.evaluation.runs import run_of
from pipeline.models.widths import FEATURES
from pipeline.reporting import style
from pipeline.reporting.figures import (
    ablation,
    ablation_depth,
    alpha_by_depth,
    before_after,
    calibration,
    casegrid,
    cost_by_variant,
    data_efficiency,
    data_overview,
    dots,
    forest,
    methods,
    panels,
    pareto,
    prompt_types,
    training_curves,
    transfer_heatmap,
    tuning,
    width_schedule,
)
from pipeline.reporting.figures.places import Place, adapter_widths, parse_place
from pipeline.runtime.errors import PipelineError

NOTE = "Not comparable with the paper: phantom images; a tiny backbone pretrained on coloured shapes."
LONG = {name: f"{label}, with a name that is much too long" for name, label in LABELS.items()} | TITLES
POINTS = {
    "uniform": {"method": "Uniform", "fraction": 0.5},
    "telescopic": {"method": "Telescopic", "fraction": 1},
    "lora": {"method": "LoRA", "fraction": 0.05},
}


def write_study(root, datasets, variants, seeds, cases, epochs, gpu):
    """Results of ``variants`` on ``datasets`` with all that figures read."""
    runs = write_runs(root, datasets, variants, seeds, cases=cases, epochs=epochs)
    write_cost(root, variants)
    write_manifests(runs, gpu=gpu)
    settings = {variant: DEPTH.get(variant, {"kind": "lora"}) for variant in variants}
    write_alphas(runs, settings)
    for dataset in datasets:
        write_gallery(root, dataset, variants, failures=3, shape=(48, 64))
        write_dataset(root, dataset, cases=12, shape=(45, 60))
    write_transfer(root, datasets, variants, seeds)
    write_comparison(root, variants, datasets)
    write_before_after(root, datasets, variants)
    write_prompt_types(root, datasets, variants)
    write_tuning(root, datasets, variants)
    write_methods(root, variants)
    return root


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five datasets, eight variants, three seeds."""
    return write_study(tmp_path_factory.mktemp("study"), DATASETS, VARIANTS, [41, 42, 43], 12, 12, gpu=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One dataset, two variants, one seed."""
    return write_study(tmp_path_factory.mktemp("demo"), ["busi"], ["uniform", "telescopic"], [41], 6, 3, gpu=False)


def options(root, module):
    """The command line of a figure of all that ``root`` holds, without --labels, --note and --output."""
    dsc = read_dsc(root / "dsc.csv")
    variants = ["--variants", list(dict.fromkeys(dsc["variant"]))]
    datasets = ["--datasets", list(dict.fromkeys(dsc["dataset"]))]
    results = ["--results", root]
    runs = [*results, "--runs", root / "dsc.csv"]
    family = [*runs, *variants, "--reference", "telescopic", "--margin", 1.0]
    settings = {name: DEPTH.get(name, {"kind": "lora"}) for name in [*variants[1], *DEPTH]}
    widths = ["--settings", settings, "--backbone", "full"]
    return {
        pareto: ["--dsc", root / "dsc.csv", "--cost", root / "cost.csv", "--published", REPORTED, *variants],
        training_curves: [*runs, *variants],
        calibration: [*runs, *variants],
        width_schedule: [*widths, "--variants", list(DEPTH) if len(variants[1]) > 2 else ["telescopic"]],
        casegrid: [*results, *datasets, *variants, "--roles", ["best", "median", "worst"]],
        ablation: [*family, "--title", "Components"],
        ablation_depth: [*family, "--title", "Depth", *widths],
        forest: ["--comparison", root / "comparison.csv", *variants],
        transfer_heatmap: ["--transfer", root / "transfer.csv", *variants],
        prompt_types: ["--table", root / "prompt_sensitivity.csv", *variants, "--own", {"telescopic": "p2"}],
        tuning: ["--tuning", root / "tuning.json", *variants],
        before_after: [
            "--table",
            root / "before_after.csv",
            *variants,
            "--names",
            ["published split", "leak-free split"],
        ],
        cost_by_variant: [*runs, "--cost", root / "cost.csv", *variants],
        alpha_by_depth: [*runs, "--variants", ["telescopic"]],
        data_overview: [*results, *datasets],
        data_efficiency: [*runs, "--points", POINTS],
        methods: ["--table", root / "methods.csv", *datasets, *variants],
    }[module]


def draw(module, *command):
    """The figure that ``module`` draws for ``command``."""
    with patch.object(Figure, "savefig", autospec=True) as savefig:
        run_main(module, *command, "--output", "build/nothing")
    return savefig.call_args.args[0]


@pytest.fixture(autouse=True)
def in_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def shown(figure):
    return [content.replace("\n", " ") for content, _ in texts(figure)]


def check(figure, *expected):
    """A reviewer's eye: no overlap, nothing cut off, nothing too small, and the texts that must be there."""
    assert overlaps(figure) == []
    assert clipped(figure) == []
    assert too_small(figure) == []
    words = " ".join(shown(figure))
    for text in expected:
        assert text in words, f"{text!r} not in {words!r}"
    width, height = figure.get_size_inches()
    assert width <= style.TEXT_WIDTH + 0.01 and height <= style.PAGE_HEIGHT + 0.6


MANY = {
    pareto: ["Telescopic Adapters", "CRIS, reported", "DSC, % (mean over 5 datasets)"],
    calibration: ["CVC-ClinicDB", "calibrated", "Foreground, %", "Pixels (log axis)", "Predicted, %", "1e3"],
    training_curves: ["CVC-ClinicDB", "BKAI-IGH NeoPolyp", "1e-3", "range over seeds"],
    width_schedule: ["read by the decoder", "reversed", "vision", "text"],
    casegrid: ["median", "target", "prediction", "BKAI-IGH NeoPolyp"],
    ablation: ["Average", "ISIC 2016", "one seed", "Components", "BKAI-IGH NeoPolyp"],
    ablation_depth: ["8–32", "none", "Average", "Depth"],
    forest: [
        "−50",
        "Average",
        "not resolved",
        "95% interval over seeds",
        "equivalent",
        "margin, ±1",
        "BKAI-IGH NeoPolyp",
    ],
    transfer_heatmap: ["88", "Tested on", "Uniform adapters", "BKAI-IGH NeoPolyp"],
    before_after: ["leak-free split", "Δ equivalent", "Telescopic Adapters", "BKAI-IGH NeoPolyp"],
    prompt_types: ["p0", "mean", "minus the row's mean", "n/a"],
    cost_by_variant: ["613k", "151M", "Peak GPU memory", "GFLOP per image", "seconds per run"],
    alpha_by_depth: ["Vision encoder", "before training"],
    data_overview: ["Kvasir-SEG", "Cases, %", "Foreground, % of the image", "BKAI-IGH NeoPolyp"],
    data_efficiency: ["Training cases, %", "Average", "BKAI-IGH NeoPolyp", "± SD over seeds"],
    tuning: ["Validation DSC, %", "Average", "0.1 0.3 1 3 10", "taken", "Telescopic Adapters"],
    methods: ["front", "Trained parameters", "Peak memory, GiB", "DSC, % (mean over 5 datasets)", "± SD"],
}
FEW = {
    pareto: ["Uniform adapters", "DSC, % (BUSI)"],
    width_schedule: ["conditional"],
    ablation: ["Difference", "not resolved"],
    forest: ["Telescopic Adapters (reference)"],
    cost_by_variant: ["Peak host memory"],
}


@pytest.mark.parametrize("module", MANY, ids=lambda module: module.__name__.rsplit(".", 1)[1])
def test_every_figure_is_legible(study, demo, module):
    check(draw(module, *options(study, module), "--labels", LONG, "--note", NOTE), *MANY[module], NOTE)
    check(draw(module, *options(demo, module), "--labels", LABELS | TITLES), *FEW.get(module, []))


@pytest.mark.slow
def test_every_command_line_writes_pdf_and_png_the_same_twice(demo, tmp_path):
    for module in MANY:
        written = []
        for attempt in ("first", "second"):
            stem = tmp_path / attempt / "figure v1.2"
            run_main(module, *options(demo, module), "--labels", LABELS | TITLES, "--note", NOTE, "--output", stem)
            written.append([(tmp_path / attempt / f"figure v1.2.{kind}").read_bytes() for kind in ("pdf", "png")])
        assert written[0] == written[1], module
        pdf, png = written[0]
        assert pdf.startswith(b"%PDF") and b"/Type3" not in pdf and png.startswith(b"\x89PNG"), module


@pytest.mark.parametrize(
    ("module", "change", "message"),
    [
        (ablation, ["--variants", ["lora"]], "dsc.csv: no run of lora"),
        (forest, ["--variants", ["lora"]], "comparison: no row for lora"),
        (transfer_heatmap, ["--variants", ["lora"]], "transfer: no row for lora"),
        (before_after, ["--variants", ["lora"]], "before_after: no row for lora"),
        (prompt_types, ["--variants", ["lora"]], "prompt_sensitivity: no row for lora"),
        (cost_by_variant, ["--variants", ["lora"]], "no run of lora"),
        (pareto, ["--variants", ["lora"]], "nothing to draw"),
        (width_schedule, ["--variants", ["lora"]], "kind telescopic"),
        (width_schedule, ["--labels", ["x"]], "--labels: must be a JSON object"),
        (tuning, ["--variants", ["lora"]], "no trials of lora"),
        (casegrid, ["--variants", ["lora"]], "busi: gallery lacks variant lora"),
    ],
)
def test_errors_say_what_is_missing(demo, module, change, message):
    with pytest.raises(PipelineError, match=message):
        draw(module, *options(demo, module), *change)


def test_pareto_leaves_out_what_lacks_a_run_or_its_cost(study, capfd):
    command = options(study, pareto)
    costs = pd.read_csv(study / "cost.csv")
    costs[costs["variant"] != "lora"].to_csv("cost.csv", index=False)
    dsc = read_dsc(study / "dsc.csv")
    dsc[(dsc["variant"] != "uniform") | (dsc["dataset"] != "busi")].to_csv("dsc.csv", index=False)
    words = " ".join(shown(draw(pareto, *command, "--dsc", "dsc.csv", "--cost", "cost.csv", "--labels", LABELS)))
    assert "LoRA," not in words and "Uniform" not in words and "Telescopic Adapters" in words
    log = capfd.readouterr().err
    assert "lora left out: no row in cost.csv" in log and "uniform left out: no run on some of" in log


def test_hollow_means_reported_and_phantoms_are_not_beside_reported_points(study):
    command = options(study, pareto)
    hollow = [line for line in draw(pareto, *command).axes[0].lines if line.get_markerfacecolor() == "white"]
    assert hollow
    alone = draw(pareto, *command, "--published", "")
    assert "reported" not in " ".join(shown(alone))
    assert not [line for axes in alone.axes for line in axes.lines if line.get_markerfacecolor() == "white"]


def test_intervals_are_in_the_legend_only_where_there_are_some(study, demo):
    for module, words in ((ablation, "95% interval"), (data_efficiency, "± SD"), (training_curves, "range over seeds")):
        assert words in " ".join(shown(draw(module, *options(study, module))))
        assert words not in " ".join(shown(draw(module, *options(demo, module))))


def test_training_curves_need_a_training(study):
    command = options(study, training_curves)
    with pytest.raises(PipelineError, match="training history"):
        draw(training_curves, *command, "--variants", ["zero_shot"])
    validation, *_ = draw(training_curves, *command, "--variants", ["zero_shot", "telescopic"]).axes
    first = [
        pd.read_csv(run_of(study, "kvasir_seg", "telescopic", seed).folder / "history.csv")["val_dsc"][0]
        for seed in (41, 42, 43)
    ]
    assert validation.lines[0].get_ydata()[0] == pytest.approx(100 * np.mean(first))


def test_rows_without_a_run_say_so(study):
    dsc = read_dsc(study / "dsc.csv")
    dsc[(dsc["dataset"] == "busi") & (dsc["variant"] != "lora")].to_csv("runs.csv", index=False)
    figure = draw(ablation, *options(study, ablation), "--runs", "runs.csv", "--labels", LABELS)
    check(figure)
    assert shown(figure).count("n/a") == 2
    assert "n/a" not in shown(draw(ablation, *options(study, ablation)))


def test_outcomes_look_different(study):
    """Colour and marker tell the four outcomes and the reference apart, in rows as in the legend."""
    dots_shown = [*dots.OUTCOME_DOTS.values(), dots.REFERENCE]
    assert len({dot.marker for dot in dots_shown}) == 5 == len({dot.colour for dot in dots_shown})
    table = pd.read_csv(study / "comparison.csv").query("dataset == 'busi'")
    axes = forest.forest(table, VARIANTS, LABELS).axes[0]
    drawn = {
        line.get_ydata()[0]: line for line in axes.lines if line.get_marker() in "^vsD" and len(line.get_xdata()) == 1
    }
    rows = [variant for variant in VARIANTS if variant != "telescopic"]
    for outcome, dot in dots.OUTCOME_DOTS.items():
        for variant in table.loc[table["outcome"] == outcome, "variant"]:
            line = drawn.get(rows.index(variant))
            if line is not None:  # else off the scale
                assert line.get_marker() == dot.marker and line.get_markerfacecolor() == dot.colour


def test_comparison_shows_what_was_not_tested(study):
    table = pd.read_csv(study / "comparison.csv")
    table = table[(table["variant"] != "lora") | (table["dataset"] != "bkai")]
    figure = forest.forest(table, VARIANTS, LABELS)
    assert shown(figure).count("n/a") == 1


def test_far_rows_are_few_and_far():
    rows = [(0, -50.5, -50.1), (0, -3.0, -2.0), (0, -1.0, 1.0), (0, -1.0, 1.0), None]
    assert dots.far_rows(rows) == [True, False, False, False, False]

    def far(*ends):
        return dots.far_rows([(0, low, high) for low, high in ends])

    assert far((-50, -49), (-45, -44), (-2, 0), (-1, 0), (-1, 0)) == [True, True, False, False, False]
    assert far((-5, -4), (-3, 1), (-3, 1), (-3, 1)) == [False] * 4
    # Too few others to say which is the odd one out; the reference's row of zeros does not count.
    assert far((-50, -49), (-1, 1), (-1, 1)) == [False] * 3
    assert far((-50, -49), (0, 0), (-1, 1), (-1, 1)) == [False] * 4
    assert far((0, 0), (0, 0), (0, 0)) == [False] * 3


def test_a_wide_interval_is_cut_and_a_far_dot_has_an_arrow():
    axes = style.new_figure(3.0, 2.0).subplots()
    rows = [(-50, -51, -49), (-1, -60, 58), (0.5, 0, 1), (-0.5, -1, 0), (0.2, 0, 0.4), (0.1, 0, 0.2), (0.3, 0, 1)]
    dots.dot_rows(axes, rows, [dots.REFERENCE] * len(rows), cut=True)
    low, high = axes.get_xlim()
    assert -5 < low < -1 and 1 < high < 5
    assert [text.get_text() for text in axes.texts] == ["−50.0"]
    assert [-60, 58] in [list(line.get_xdata()) for line in axes.lines]


def test_places_of_adapters():
    assert parse_place("vision_3_mlp") == Place("vision", "mlp", 3)
    assert parse_place("conditional") == Place("conditional", "conditional", 0)
    assert parse_place("refinement") is None
    widths = adapter_widths(DEPTH, ["base_256", "lora"], FEATURES["full"])
    assert widths["lora"] == {}
    assert widths["base_256"][Place("vision", "mlp", 9)] == 128


def test_widths_are_drawn_as_built():
    figure = draw(width_schedule, "--settings", DEPTH, "--backbone", "full", "--variants", ["telescopic"])
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights[:18:2] == heights[1:18:2] == [8, 8, 10, 14, 17, 21, 24, 28, 32]
    assert heights[18:] == [16] * 7
    # Each bar has a place of its own: the adapted text layers stand beside the vision encoder's.
    assert len({patch.get_x() for patch in figure.axes[0].patches}) == 25


def test_ablation_depth_draws_every_schedule(tmp_path):
    write_runs(tmp_path, DATASETS, list(DEPTH), [41], cases=6, epochs=1)
    labels = {"lora": "LoRA, not telescopic at all"} | TITLES
    command = [*options(tmp_path, ablation_depth), "--labels", labels, "--note", NOTE]
    figure = draw(ablation_depth, *command)
    check(figure, "8–32", "14–128", "none", "Average")
    # Nine layers with two adapters (7 schedules), three layers (3), one adapter a layer (2), LoRA none.
    assert len(figure.axes[0].patches) == 7 * 18 + 3 * 6 + 2 * 9


def test_case_grid_shows_every_case_of_its_roles(study):
    figure = draw(casegrid, *options(study, casegrid), "--labels", LABELS)
    cells = [text for text in shown(figure) if text.replace(".", "").isdigit()]
    assert len(cells) == 3 * len(DATASETS) * len(VARIANTS)
    case = casegrid.read_gallery(study / "gallery" / "kvasir_seg.npz")[0]
    assert cells[: len(VARIANTS)] == [f"{100 * case.dsc[variant]:.1f}" for variant in VARIANTS]
    (picture,) = figure.axes[0].images
    assert (np.asarray(picture.get_array()).min(axis=2) < 250).mean() > 0.35


@pytest.mark.parametrize("role", ["median", "failure"])
def test_case_grid_of_one_role(study, role):
    """With one row a dataset, numbers stand below the pictures; several cases of a role are told apart by name."""
    figure = draw(casegrid, *options(study, casegrid), "--roles", [role], "--labels", LONG, "--note", NOTE)
    check(figure, "target", "CVC- ClinicDB" if role == "median" else "CVC-ClinicDB")
    numbers = [text for text in figure.axes[0].texts if text.get_text().replace(".", "").isdigit()]
    assert {text.get_verticalalignment() for text in numbers} == {"top" if role == "median" else "baseline"}
    assert len(numbers) == len(VARIANTS) * len(DATASETS) * (1 if role == "median" else 3)
    assert role not in shown(figure)


def test_gallery_errors_name_the_file(tmp_path):
    path = write_gallery(tmp_path, "busi", ["telescopic"], shape=(24, 24))
    with pytest.raises(PipelineError, match="no case with role"):
        casegrid.case_grid(casegrid.read_gallery(path), {"other"}, ["telescopic"], LABELS)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PipelineError, match=r"busi.npz: not a gallery"):
        casegrid.read_gallery(path)


def test_data_efficiency_draws_each_method_by_share(study):
    figure = draw(data_efficiency, *options(study, data_efficiency), "--points", POINTS)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["5", "50", "100"]
    dsc = read_dsc(study / "dsc.csv")
    drawn = [container.lines[0].get_ydata().item() for container in figure.axes[1].containers]
    expected = dsc[dsc["dataset"] == "kvasir_seg"].groupby("variant")["dsc"].mean()
    assert drawn == pytest.approx([100 * expected[variant] for variant in POINTS])


def test_tuning_rings_the_trial_that_is_taken(study):
    figure = draw(tuning, *options(study, tuning), "--labels", LABELS | TITLES)
    average, *others = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["Average", *list(TITLES.values())[:2]]
    table = json.loads((study / "tuning.json").read_text())["methods"]
    lines, rings = average.lines[::2], average.lines[1::2]
    for line, ring, entry in zip(lines, rings, table.values(), strict=True):
        means = [100 * trial["mean"] for trial in entry["trials"] if trial["mean"]]
        assert line.get_ydata() == pytest.approx(means) and ring.get_ydata() == pytest.approx([max(means)])
    # The first method's last trial diverged on one of the datasets.
    assert [len(axes.lines[0].get_xdata()) for axes in (average, *others)] == [4, 5, 4]


def test_alphas_are_read_by_layer_and_branch(tmp_path):
    settings = {"telescopic": {"kind": "telescopic", "alpha": 0.25}, "lora": {"kind": "lora"}}
    runs = write_runs(tmp_path, ["busi"], list(settings), [41], cases=2, epochs=1)
    write_alphas(runs, settings)
    alphas = alpha_by_depth.read_alphas(runs)
    # 18 vision, 6 text and one conditional adapter.
    assert len(alphas) == 25 and set(alphas["start"]) == {0.25}
    vision = alphas[(alphas["branch"] == "vision") & (alphas["sublayer"] == "mlp")]
    assert vision["layer"].tolist() == list(range(1, 10))
    assert set(alphas.loc[alphas["branch"] == "text", "layer"]) == {10, 11, 12}
    assert alphas.loc[alphas["branch"] == "conditional", "alpha"].item() == pytest.approx(0.40)
    with pytest.raises(PipelineError, match="no run of LoRA has a residual scale"):
        alpha_by_depth.alpha_by_depth(alphas[alphas["variant"] == "lora"], "LoRA")
    path = runs[0].folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(PipelineError, match=r"weights.safetensors: cannot be read"):
        alpha_by_depth.read_alphas(runs)


def test_transfer_orders_columns_as_rows_and_shows_holes(study):
    table = pd.read_csv(study / "transfer.csv")
    hole = (table["train_dataset"] == "busi") & (table["test_dataset"] == "bkai")
    table = table[~hole].sort_values("test_dataset", kind="stable")
    figure = transfer_heatmap.transfer(table, ["telescopic"], TITLES, NOTE)
    check(figure, "88", "n/a")
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    check(transfer_heatmap.transfer(table[table["test_dataset"] == "busi"], ["telescopic"], LONG))


def test_cost_of_what_trains_nothing_is_not_available(study):
    figure = draw(cost_by_variant, *options(study, cost_by_variant))
    # Zero-shot has neither memory nor time.
    assert shown(figure).count("n/a") == 2
    # Nor trained parameters, which a logarithmic axis could not show.
    parameters = figure.axes[0]
    drawn = sorted(line.get_xdata()[0] for line in parameters.lines if len(line.get_xdata()) == 1)
    assert parameters.get_xscale() == "log" and drawn == sorted(PARAMETERS[name] for name in VARIANTS[1:])
    table = pd.read_csv(study / "cost.csv").set_index("variant")[["trainable_parameters"]]
    runs = read_manifests([])
    check(cost_by_variant.cost(table, runs, ["uniform", "telescopic"], LABELS), "Trained parameters")
    with pytest.raises(PipelineError, match="nothing is known of other"):
        cost_by_variant.cost(table, runs, ["other"], LABELS)


def test_overview_shows_quantiles_of_the_cases_with_foreground(study, tmp_path):
    cases = pd.DataFrame({"case": [f"c{i:02d}" for i in range(21)], "foreground": [0, *range(1, 21)]})
    cases["share"] = cases["foreground"] / 100
    assert data_overview.choose_cases(cases)["foreground"].tolist() == [2, 6, 11, 15, 19]
    assert data_overview.choose_cases(cases[:3])["case"].tolist() == ["c01", "c02"]
    assert data_overview.choose_cases(cases[:1]).empty
    figure = draw(data_overview, *options(study, data_overview))
    assert sum(text.endswith("%") and text[0].isdigit() for text in shown(figure)) == 5 * len(DATASETS)
    folder = write_dataset(tmp_path, "busi", cases=12, shape=(45, 60))
    shares = data_overview.read_shares(folder)
    assert shares["share"].iloc[-1] == 0 and shares["share"].iloc[0] == shares["foreground"].iloc[0] / (45 * 60)
    (folder / "masks" / "case05.png").write_bytes(b"no image")
    with pytest.raises(PipelineError, match=r"case05.png: cannot be read"):
        data_overview.data_overview(tmp_path, ["busi"], TITLES)


def test_prompt_types_are_ordered_and_ranges_shown(demo):
    figure = draw(prompt_types, *options(demo, prompt_types))
    cells, ranges = figure.axes[:2]
    assert [tick.get_text() for tick in cells.get_xticklabels()] == ["p0", "p1", "p2", "mean"]
    table = pd.read_csv(demo / "prompt_sensitivity.csv")
    assert [text.get_text() for text in ranges.texts] == [f"{value:.1f}" for value in table["range"]]


def test_panels_label_the_outer_ones():
    figure = style.new_figure(3.0, 2.0)
    grid = panels.panel_grid(figure, 5, 3)
    assert len(figure.axes) == len(grid.all) == 5
    assert grid.left == [grid.all[0], grid.all[3]] and grid.bottom == grid.all[2:]

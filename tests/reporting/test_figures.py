"""Every figure, with few and many variants: nothing overlaps, nothing is cut off, all is legible, files are written."""

import json

import numpy as np
import pytest
from reporting_support import (
    DATASETS,
    DEPTH,
    DEPTH_LABELS,
    LABELS,
    REPORTED,
    VARIANTS,
    clipped,
    overlaps,
    run_main,
    texts,
    too_small,
    write_alphas,
    write_comparison,
    write_cost,
    write_dataset,
    write_dsc,
    write_gallery,
    write_manifests,
    write_runs,
    write_transfer,
)

from pipeline.evaluation import readers as inputs
from pipeline.evaluation.runs import parse_runs
from pipeline.reporting import style
from pipeline.reporting.figures import (
    ablation,
    ablation_depth,
    alpha_by_depth,
    casegrid,
    data_efficiency,
    data_overview,
    failures,
    pareto,
    qualitative,
    training_curves,
    width_schedule,
)
from pipeline.reporting.figures import cost_by_variant as cost
from pipeline.reporting.figures import forest as comparison
from pipeline.reporting.figures import transfer_heatmap as transfer
from pipeline.runtime.errors import PipelineError

NOTE = "Not comparable with the paper: phantom images; a tiny backbone pretrained on coloured shapes."
LONG = {name: f"{label}, with a name that is much too long" for name, label in LABELS.items()}


def check(figure, *expected):
    """A reviewer's eye: no overlap, nothing cut off, nothing too small, and the texts that must be there."""
    assert overlaps(figure) == []
    assert clipped(figure) == []
    assert too_small(figure) == []
    shown = " ".join(content.replace("\n", " ") for content, _ in texts(figure))
    for text in expected:
        assert text in shown, f"{text!r} not in {shown!r}"
    width, height = figure.get_size_inches()
    assert width <= style.TEXT_WIDTH + 0.01 and height <= style.PAGE_HEIGHT + 0.6


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five datasets, eight variants, three seeds."""
    root = tmp_path_factory.mktemp("study")
    folders = write_runs(root, DATASETS, VARIANTS, [41, 42, 43], cases=12, epochs=12)
    write_dsc(root, folders)
    write_cost(root)
    return root, parse_runs(folders)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One dataset, two variants, one seed."""
    root = tmp_path_factory.mktemp("demo")
    folders = write_runs(root, ["busi"], ["uniform", "telescopic"], [41], cases=6, epochs=3)
    write_dsc(root, folders)
    write_cost(root, ["uniform", "telescopic"])
    return root, parse_runs(folders)


@pytest.mark.parametrize("labels", [LABELS, LONG], ids=["labels", "long"])
def test_pareto_with_many_variants(study, labels):
    root, _ = study
    facts = inputs.read_reported(REPORTED)
    figure = pareto.pareto(
        inputs.read_dsc(root / "dsc.csv"), inputs.read_cost(root / "cost.csv"), facts, VARIANTS, labels, NOTE
    )
    check(figure, "Telescopic Adapters", "CRIS, reported", "DSC, % (mean over 5 datasets)", NOTE)


def test_pareto_with_few_variants_and_leaves_out_what_lacks_a_run(demo, capfd):
    root, _ = demo
    facts = inputs.read_reported(REPORTED)
    dsc, costs = inputs.read_dsc(root / "dsc.csv"), inputs.read_cost(root / "cost.csv")
    figure = pareto.pareto(dsc, costs, facts[:0], ["uniform", "telescopic", "lora"], LABELS)
    check(figure, "Uniform adapters", "DSC, % (BUSI)")
    assert "LoRA" not in " ".join(content for content, _ in texts(figure))
    assert "lora left out" in capfd.readouterr().err


def test_pareto_without_any_complete_variant(demo):
    root, _ = demo
    dsc, costs = inputs.read_dsc(root / "dsc.csv"), inputs.read_cost(root / "cost.csv")
    with pytest.raises(PipelineError, match="nothing to draw"):
        pareto.pareto(dsc, costs[:0], inputs.read_reported(REPORTED), ["uniform"], LABELS)


def test_training_curves(study, demo):
    check(training_curves.training_curves(study[1], VARIANTS, LABELS, NOTE), "CVC-ClinicDB", "1e-3", NOTE)
    check(training_curves.training_curves(demo[1], ["uniform", "telescopic"], LONG), "BUSI", "Learning rate")


def test_training_curves_of_nothing(demo):
    with pytest.raises(PipelineError, match="training history"):
        training_curves.training_curves(demo[1], ["zero_shot"], LABELS)


def test_ablation(study, demo):
    cases = inputs.read_cases([run for run in study[1] if run.dataset in ("busi", "isic16")])
    figure = ablation.ablation(cases, VARIANTS, "telescopic", LONG, "Components", NOTE, samples=200)
    check(figure, "Average", "ISIC 2016", "one seed", "Components", NOTE)
    few = inputs.read_cases(demo[1])
    figure = ablation.ablation(few, ["uniform", "telescopic"], "telescopic", LABELS, samples=200)
    check(figure, "Paired difference")
    assert "one seed" not in " ".join(content for content, _ in texts(figure))


def test_ablation_says_where_there_is_no_run(study):
    cases = inputs.read_cases([run for run in study[1] if run.dataset == "busi" and run.variant != "lora"])
    figure = ablation.ablation(cases, ["telescopic", "lora", "uniform"], "telescopic", LABELS, samples=200)
    check(figure)
    assert [content for content, _ in texts(figure)].count("n/a") == 2


def test_ablation_depth_draws_every_schedule(tmp_path):
    folders = write_runs(tmp_path, DATASETS, list(DEPTH), [41], cases=6, epochs=1)
    cases = inputs.read_cases(parse_runs(folders))
    figure = ablation_depth.ablation_depth(
        cases, list(DEPTH), "telescopic", DEPTH, DEPTH_LABELS, "Depth", NOTE, samples=200
    )
    check(figure, "8–32", "14–128", "none", "Average")
    side = figure.axes[0]
    # Nine layers with two adapters (7 schedules), three layers (3), one adapter a layer (2), LoRA none.
    assert len(side.patches) == 7 * 18 + 3 * 6 + 2 * 9
    with pytest.raises(PipelineError, match="uniform missing"):
        ablation_depth.ablation_depth(
            cases, ["telescopic", "uniform"], "telescopic", {"telescopic": DEPTH["telescopic"]}, {}
        )


def test_width_schedule():
    check(
        width_schedule.width_schedule(DEPTH, list(DEPTH), DEPTH_LABELS, NOTE), "read by the decoder", "Reversed", NOTE
    )
    figure = width_schedule.width_schedule(DEPTH, ["telescopic"], DEPTH_LABELS)
    check(figure, "conditional")
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights[:9] == [8, 8, 10, 14, 17, 21, 24, 28, 32]
    assert sorted(heights)[:7] == [-16] * 7


def test_width_schedule_of_nothing_to_draw():
    with pytest.raises(PipelineError, match="kind telescopic"):
        width_schedule.width_schedule(DEPTH, ["lora"], {})
    with pytest.raises(PipelineError, match=r"--settings: telescopic: schedule.*should be"):
        width_schedule.width_schedule({"telescopic": {"kind": "telescopic", "schedule": "wide"}}, ["telescopic"], {})


@pytest.mark.parametrize(("variants", "datasets"), [(VARIANTS, DATASETS[:2]), (VARIANTS[-1:], DATASETS[-1:])])
def test_case_grids(tmp_path, variants, datasets):
    paths = [write_gallery(tmp_path, dataset, variants, failures=2, shape=(48, 64)) for dataset in datasets]
    cases = [case for path in paths for case in casegrid.read_gallery(path)]
    figure = casegrid.case_grid(cases, qualitative.ROLES, variants, LABELS, NOTE)
    check(figure, "median", "target", f"{100 * cases[0].dsc[variants[0]]:.1f}", NOTE)
    (picture,) = figure.axes[0].images
    cells = [content for content, _ in texts(figure) if content.replace(".", "").isdigit()]
    assert len(cells) == 3 * len(datasets) * len(variants)
    coloured = np.asarray(picture.get_array()).min(axis=2) < 250
    assert coloured.mean() > 0.35
    check(casegrid.case_grid(cases, failures.ROLES, variants, LONG, "", name_rows_by_case=True), "prediction")


def test_gallery_errors_name_the_file(tmp_path):
    path = write_gallery(tmp_path, "busi", ["telescopic"], shape=(24, 24))
    cases = casegrid.read_gallery(path)
    with pytest.raises(PipelineError, match="busi: gallery lacks variant uniform"):
        casegrid.case_grid(cases, qualitative.ROLES, ["uniform"], LABELS)
    with pytest.raises(PipelineError, match="no case with role"):
        casegrid.case_grid(cases, {"other"}, ["telescopic"], LABELS)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(PipelineError, match=r"busi.npz: not a gallery"):
        casegrid.read_gallery(path)


def test_data_efficiency(tmp_path):
    points = {
        f"{method}_data_{share:02d}" if share < 100 else method: {"method": LABELS[method], "fraction": share / 100}
        for method in ("telescopic", "uniform", "lora", "decoder_only", "end_to_end")
        for share in (5, 10, 100)
    }
    folders = write_runs(tmp_path, DATASETS[:2], list(points), [41, 42], cases=5, epochs=1)
    cases = inputs.read_cases(parse_runs(folders))
    dsc = cases.groupby(["dataset", "variant", "seed"], as_index=False)["dsc"].mean()
    figure = data_efficiency.data_efficiency(dsc, points, NOTE)
    check(figure, "Training cases, %", "Average", "decoder only", NOTE)
    check(data_efficiency.data_efficiency(dsc[dsc["dataset"] == "clinicdb"], dict(list(points.items())[:3])))
    with pytest.raises(PipelineError, match="lora: give method and fraction"):
        data_efficiency.data_efficiency(dsc, {"lora": {"method": "LoRA", "fraction": 0}})


def test_alpha_by_depth(tmp_path, capfd):
    settings = {
        "telescopic": {"kind": "telescopic"},
        "alpha_from_1": {"kind": "telescopic", "alpha": 1.0},
        "lora": {"kind": "lora"},
    }
    folders = write_runs(tmp_path, DATASETS[:2], list(settings), [41, 42], cases=3, epochs=1)
    write_alphas(folders, settings)
    alphas = alpha_by_depth.read_alphas(parse_runs(folders))
    # Two datasets, two seeds and two variants with 18 vision, 6 text and one conditional adapter each.
    assert len(alphas) == 2 * 2 * 2 * 25
    assert set(alphas.loc[alphas["variant"] == "alpha_from_1", "start"]) == {1.0}
    check(alpha_by_depth.alpha_by_depth(alphas, list(settings), LABELS, NOTE), "Vision encoder", "alpha_from_1", NOTE)
    assert "lora left out" in capfd.readouterr().err
    with pytest.raises(PipelineError, match="residual scale"):
        alpha_by_depth.alpha_by_depth(alphas, ["lora"], LABELS)


def test_transfer(tmp_path):
    table = inputs.read_table(write_transfer(tmp_path, ["telescopic", "uniform"], DATASETS, seeds=(41, 42)), ["dsc"])
    hole = (table["variant"] == "uniform") & (table["train_dataset"] == "busi") & (table["test_dataset"] == "bkai")
    figure = transfer.transfer(table[~hole], ["telescopic", "uniform"], LABELS, NOTE)
    check(figure, "88.0", "n/a", "Tested on", NOTE)
    check(transfer.transfer(table[table["test_dataset"].isin(["busi"])], ["telescopic"], LONG))
    with pytest.raises(PipelineError, match="no row for lora"):
        transfer.transfer(table, ["lora"], LABELS)


def test_comparison(tmp_path):
    table = inputs.read_table(write_comparison(tmp_path, VARIANTS, DATASETS), comparison.COLUMNS)
    table = table[~((table["variant"] == "lora") & (table["dataset"] == "bkai"))]
    figure = comparison.comparison(table, VARIANTS, LONG, NOTE)
    check(figure, "n/a", "−50", "Average", NOTE)
    one = table[table["dataset"] == "busi"]
    check(comparison.comparison(one, ["telescopic", "uniform"], LABELS), "as Telescopic Adapters")
    with pytest.raises(PipelineError, match="one reference"):
        comparison.comparison(table.assign(reference=table["variant"]), VARIANTS, LABELS)


def test_cost(study, demo):
    root, runs = study
    write_manifests([str(run.folder) for run in runs], gpu=True)
    table = inputs.read_cost(root / "cost.csv")
    figure = cost.cost(table, cost.read_manifests(runs), VARIANTS, LONG, NOTE)
    check(figure, "613k", "151M", "Peak GPU memory", NOTE)
    # Zero-shot trains nothing: no memory, no time.
    assert [content for content, _ in texts(figure)].count("n/a") == 2
    few = table[["trainable_parameters"]]
    check(cost.cost(few, cost.read_manifests([]), ["uniform", "telescopic"], LABELS), "Trained parameters")
    with pytest.raises(PipelineError, match=r"manifest.json: not a run's manifest"):
        cost.read_manifests(demo[1])


def test_data_overview(tmp_path):
    folders = [write_dataset(tmp_path, name, cases=12, shape=(45, 60)) for name in ("kvasir_seg", "busi")]
    figure = data_overview.data_overview(folders, NOTE)
    check(figure, "Kvasir-SEG", "Cases, %", "Foreground, % of the image", NOTE)
    assert sum(content.endswith("%") and content[0].isdigit() for content, _ in texts(figure)) == 10
    check(data_overview.data_overview(folders[:1]))
    (folders[0] / "masks" / "case05.png").write_bytes(b"no image")
    with pytest.raises(PipelineError, match=r"case05.png: cannot be read"):
        data_overview.data_overview(folders[:1])


def _command_lines(root, runs):
    few = ["--variants", ["uniform", "telescopic"], "--labels", LABELS]
    folders = ["--runs", [str(run.folder) for run in runs]]
    settings = {name: DEPTH[name] for name in ("uniform", "telescopic")}
    write_manifests([str(run.folder) for run in runs])
    write_alphas([str(run.folder) for run in runs], settings)
    gallery = write_gallery(root, "busi", ["uniform", "telescopic"], failures=1, shape=(24, 32))
    dsc, costs = root / "dsc.csv", root / "cost.csv"
    dataset = root / "datasets" / "busi"
    if not dataset.exists():
        write_dataset(root, "busi", cases=6, shape=(24, 32))
    points = {"uniform": {"method": "Uniform", "fraction": 0.5}, "telescopic": {"method": "Telescopic", "fraction": 1}}
    return {
        pareto: ["--dsc", dsc, "--cost", costs, "--reported", REPORTED, *few],
        training_curves: [*folders, *few],
        width_schedule: ["--settings", settings, *few],
        ablation: [*folders, *few, "--reference", "telescopic", "--title", "T", "--bootstrap", "200"],
        ablation_depth: [*folders, *few, "--reference", "telescopic", "--settings", settings, "--bootstrap", "200"],
        qualitative: ["--galleries", [str(gallery)], *few],
        failures: ["--galleries", [str(gallery)], *few],
        data_efficiency: [*folders, "--points", points],
        alpha_by_depth: [*folders, *few],
        transfer: ["--transfer", write_transfer(root, ["telescopic"], ["busi"]), "--variants", ["telescopic"]],
        comparison: ["--comparison", write_comparison(root, ["uniform", "telescopic"], ["busi"]), *few],
        cost: ["--cost", costs, *folders, *few],
        data_overview: ["--datasets", [str(dataset)]],
    }


@pytest.mark.slow
def test_every_command_line_writes_pdf_and_png_the_same_twice(demo, tmp_path):
    root, runs = demo
    for module, options in _command_lines(root, runs).items():
        name = module.__name__.rsplit(".", 1)[1]
        written = []
        for attempt in ("first", "second"):
            output = tmp_path / attempt / f"{name}.pdf"
            run_main(module, *options, "--note", NOTE, "--output", output)
            written.append((output.read_bytes(), output.with_suffix(".png").read_bytes()))
        assert written[0] == written[1], name
        assert written[0][0].startswith(b"%PDF") and b"/Type3" not in written[0][0], name
        assert written[0][1].startswith(b"\x89PNG"), name


def test_runs_can_come_from_a_file(demo, tmp_path):
    _, runs = demo
    (tmp_path / "runs.txt").write_text("\n".join(str(run.folder) for run in runs) + "\n")
    output = tmp_path / "curves.pdf"
    options = ["--runs-file", tmp_path / "runs.txt", "--variants", ["telescopic"], "--output", output]
    run_main(training_curves, *options)
    assert output.exists()


def test_labels_must_be_an_object(demo, tmp_path):
    with pytest.raises(PipelineError, match="--labels: must be a JSON object"):
        run_main(
            width_schedule,
            "--settings",
            json.dumps(DEPTH),
            "--variants",
            ["telescopic"],
            "--labels",
            ["x"],
            "--output",
            tmp_path / "w.pdf",
        )

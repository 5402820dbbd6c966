"""The plan: which runs a study has, and what is made of them."""

import re
from pathlib import Path

import pytest
import yaml

from pipeline.config import load_study, merge, read_study
from pipeline.cost.hours import ImageCost
from pipeline.plan import Plan
from pipeline.plan.__main__ import estimate, main, summary
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def full() -> Plan:
    return Plan(read_study(ROOT / "config.yaml"))


@pytest.fixture(scope="module")
def demo() -> Plan:
    return Plan(read_study(ROOT / "config.yaml", ROOT / "workflow/config/demo.yaml"))


def changed(**values) -> Plan:
    return Plan(load_study(yaml.safe_load((ROOT / "config.yaml").read_text()) | values))


def counts(plan: Plan) -> dict[str, list[int]]:
    """Runs, shared, new and new for more seeds, by family."""
    lines = [line.rsplit(maxsplit=4) for line in summary(plan).splitlines()[1:-1]]
    return {name: [int(number) for number in numbers] for name, *numbers in lines}


def test_runs_that_families_share_are_counted_once(full, demo):
    # Eight variants on five datasets with three seeds, and seven more seeds of two; in the family of depth, of a third.
    assert counts(full)["main table"] == [190, 0, 190, 70]
    assert counts(full)["depth"] == [285, 100, 185, 35]
    # The demo's families are of one dataset and seed, and hold variants of the main table.
    assert counts(demo)["components"] == [4, 1, 3, 0]
    for plan in (full, demo):
        assert all(runs == shared + new for runs, shared, new, _ in counts(plan).values())
        *_, total, more = map(sum, zip(*counts(plan).values(), strict=True))
        assert summary(plan).splitlines()[-1].split() == ["total", str(total), str(more)]
        assert len(set().union(*(plan.trainings(group) for group in plan.groups))) == total


def test_gpu_hours_are_estimated_from_flops_and_an_assumed_throughput(full, tmp_path, monkeypatch, capsys):
    costs = dict.fromkeys(full.variants, ImageCost(300.0, 100.0)) | {"zero_shot": ImageCost(0, 0)}
    hours = estimate(full, costs, teraflops=30)
    busi = hours([("busi", "telescopic", 41)])
    assert busi == pytest.approx(200 * (624 * 0.3 + 78 * 0.1) / 30 / 3600)
    assert estimate(full, costs, 60, epochs=50)([("busi", "lora", 41)]) == pytest.approx(busi / 8)
    # An epoch of a share of the cases is as long; its validation set is smaller.
    assert hours([("busi", "lora_data_05", 41)]) == pytest.approx(200 * (624 * 0.3 + 3.9 * 0.1) / 30 / 3600)
    # What tuning derives costs what its method costs; a joint training all datasets.
    assert hours([("busi", "lora_tuned", 41), ("busi", "lora_rate_3", 41)]) == pytest.approx(2 * busi)
    apart = [(dataset, "lora", 41) for dataset in full.study.datasets]
    assert hours([("joint", "lora", 41)]) == pytest.approx(hours(apart))
    assert hours([("busi", "zero_shot", 41)]) == 0
    lines = summary(full, hours).splitlines()
    assert lines[0].endswith("GPU hours") and int(lines[-1].split()[-1]) == pytest.approx(
        sum(int(line.split()[-1]) for line in lines[1:-1]), abs=len(lines)
    )

    rows = [f"{name},1,{cost.training_gflops or ''},{cost.inference_gflops}" for name, cost in costs.items()]
    header = "variant,trainable_parameters,training_gflops,inference_gflops"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["plan", str(ROOT / "config.yaml"), "--teraflops", "30"])
    with pytest.raises(PipelineError, match=r"cost\.csv: is not there; make it with `snakemake"):
        main()
    (tmp_path / "results").mkdir()
    (tmp_path / "results/cost.csv").write_text("\n".join([header, *rows]))
    main()
    printed = capsys.readouterr().out
    assert summary(full, hours) in printed and "nothing was measured" in printed and "sustain 30 TFLOP/s" in printed


def test_some_variants_have_more_seeds(full, demo):
    seeds = full.steps["collect"].source.options["seeds"]
    assert {variant: len(numbers) for variant, numbers in seeds.items() if len(numbers) != 3} == {
        "telescopic": 10,
        "uniform": 10,
    }
    assert "results/runs/busi/uniform/seed50/per_case.csv" in full.steps["table_main"].source.reads
    assert full.families["depth"].seeds["reversed"] == [*range(41, 51)]
    assert full.families["alpha"].seeds["telescopic"] == [41, 42, 43]  # the others have no more
    further = {"decoder_only", "end_to_end", "uniform", "telescopic"}
    assert {variant for variant, seeds in demo.main.seeds.items() if list(seeds) == [41, 42]} == further
    assert set(map(tuple, demo.families["depth"].seeds.values())) == {(41,)}


def test_the_family_of_methods_has_a_table_a_figure_and_a_paragraph(full, demo):
    assert counts(full)["methods"][2] == 18 * 2 * 3 and counts(demo)["methods"][2] == 4
    for plan in (full, demo):
        table = f"{plan.study.results}/tables/methods.csv"
        assert (
            plan.steps["table_methods"].outputs["csv"] == plan.steps["figure_methods"].source.inputs["table"] == table
        )
        assert plan.steps["paper"].source.inputs["fronts"] == table
    without = changed(ablations={"methods": None})
    assert not {"table_methods", "figure_methods"} & set(without.steps)
    assert "fronts" not in without.steps["paper"].source.inputs


def test_a_family_on_both_splits_is_made_of_the_studys_datasets(full):
    leaks = full.further["leaks"]
    assert list(leaks.datasets) == ["clinicdb", "clinicdb_leak_free", "busi", "busi_leak_free"]
    assert (full.split("clinicdb"), full.split("clinicdb_leak_free")) == ("published", "leak_free")
    assert "results/datasets/busi_leak_free/cases.csv" in full.steps["table_data_audit"].source.reads
    assert "results/datasets/busi_leak_free/integrity.json" not in full.steps["figure_data_overview"].source.reads
    assert full.steps["table_leaks"].source.options["labels"]["busi_leak_free"] == "BUSI, leak-free"
    for other in (changed(leaks=None), changed(leaks={"datasets": ["bkai"]}, datasets=["kvasir_seg"], ablations={})):
        assert "leaks" not in other.further and "table_leaks" not in other.steps
        assert not [dataset for dataset in other.datasets if dataset.endswith("leak_free")]


def test_one_training_on_all_datasets_is_scored_on_each(full):
    joint = full.further["joint"]
    assert list(joint.datasets) == [*full.study.datasets, "joint"] and "zero_shot" not in joint.variants
    assert full.tested_on("joint") == full.study.datasets
    reads = full.steps["table_joint"].source.reads
    assert (
        "results/transfer/joint/lora/seed41/per_case.csv" in reads
        and "results/runs/busi/lora/seed41/per_case.csv" in reads
    )
    assert "results/runs/joint/lora/seed41/per_case.csv" not in {
        path for step in full.steps.values() for path in step.source.reads
    }
    assert not [path for path in full.steps["table_data_audit"].source.reads if "joint" in path]
    alone = changed(datasets=["busi"], ablations={})
    assert "joint" not in alone.further and alone.tested_on("joint") == []


def test_transfer_is_to_and_from_datasets_beside_the_studys(full):
    transfer = full.further["transfer"]
    assert list(transfer.datasets) == [*full.study.datasets, "oxford_pet"]
    assert list(transfer.variants) == list(full.study.main)
    assert "results/transfer/oxford_pet/lora/seed41/per_case.csv" in full.steps["table_transfer"].source.reads
    assert full.steps["table_transfer_outcomes"].source.options["beside"] == ["oxford_pet"]
    assert "oxford_pet" not in full.main.datasets
    assert not {"table_transfer", "table_transfer_outcomes", "figure_transfer"} & changed(transfer=None).steps.keys()


def test_runs_that_widths_are_learned_from_are_counted(full):
    alone = changed(ablations={"order": full.study.ablations["order"].model_dump()})
    for plan in (full, alone):
        runs = set(plan.families["order"].runs())
        first = plan.trainings(plan.families["order"]) - runs
        assert {(dataset, seed) for dataset, _, seed in first} == {(d, s) for d, name, s in runs if name == "learned"}
        assert {variant for _, variant, _ in first} == {"uniform_128"}
    assert counts(full)["order"][0] == counts(alone)["order"][0] == len(runs) + 9


def test_trials_are_shared_with_the_main_table_and_never_scored(full):
    # Seven methods, five rates, two datasets, one seed; the methods' own rates are trained anyway.
    assert counts(full)["tuning"] == [70, 14, 56, 0]
    # The tuned runs on five datasets with three seeds; beside them the protocol's and the trials.
    assert counts(full)["tuned"][2:] == [105, 0]
    reads = full.steps["tuning"].source.reads
    assert "results/runs/busi/lora_rate_0_3/seed41/history.csv" in reads and not any("per_case" in x for x in reads)
    wanted = {path for step in full.steps.values() for path in step.source.reads}
    assert not any(path.endswith("per_case.csv") and "_rate_" in path for path in wanted)
    assert full.is_trial("lora_rate_3") and not full.is_trial("lora") and not full.is_trial("lora_tuned")
    assert "results/runs/busi/lora_tuned/seed43/per_case.csv" in full.steps["table_tuned"].source.reads
    gone = changed(tuning=None)
    assert not {"tuning", "table_tuned", "figure_tuning", "collect_tuned"} & gone.steps.keys()
    assert not any("tun" in path or "_rate_" in path for path in gone.targets())


def test_runs_that_may_be_the_same_as_a_tuned_one(full):
    root = "results/runs/busi"
    grid = [f"lora_rate_{name}" for name in ("0_1", "0_3")] + ["lora"] + [f"lora_rate_{name}" for name in ("3", "10")]
    assert full.alike("busi", "lora_tuned", "41") == [f"{root}/{name}/seed41" for name in grid]
    # With other seeds and on other datasets only the protocol's rates were run.
    assert full.alike("busi", "lora_tuned", 42) == [f"{root}/lora/seed42"]
    assert full.alike("bkai", "lora_tuned", 41) == ["results/runs/bkai/lora/seed41"]
    assert full.alike("busi", "lora", 41) == [] and full.tuning_options("busi", "lora", 41) == {}


def test_a_variant_of_the_users_own_can_have_tuned_rates(full):
    (example,) = re.findall(r"```yaml\n(.*?lora_tuned_p1:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[-1:]
    overlay = yaml.safe_load(example.rpartition("```yaml\n")[2])
    overlay["ablations"] = {"alpha": {"variants": ["telescopic", "lora_tuned_p1"]}}
    plan = Plan(load_study(merge(yaml.safe_load((ROOT / "config.yaml").read_text()), overlay)))
    assert plan.study.is_tuned("lora_tuned_p1") and plan.training("lora_tuned_p1")["prompt_type"] == "p1"
    assert plan.tuning_options("busi", "lora_tuned_p1", 41) == {"method": "lora", "alike": "[]"}
    assert set(plan.tried.runs()) <= plan.trainings(plan.families["alpha"])
    assert not set(full.tried.runs()) <= full.trainings(full.families["alpha"])


def test_families_that_are_left_out_leave_nothing_behind(full):
    less = changed(ablations=full.study.model_dump()["ablations"] | {"data": None, "prompts": None})
    assert set(full.families) - set(less.families) == {"data", "prompts"}
    gone = set(full.steps) - set(less.steps)
    assert {"collect_data", "table_ablation_data", "figure_ablation_data", "figure_data_efficiency"} <= gone
    assert not any("ablation_prompts" in path for path in less.targets())


def test_prompt_types_of_training_and_evaluation_are_crossed(full):
    step = full.steps["table_prompt_outcomes"]
    assert step.source.options["own"] == {f"prompt_p{number}": f"p{number}" for number in range(1, 10)}
    assert "results/every_prompt/isic16/prompt_p3/seed42/per_prompt.csv" in step.source.reads
    # Telescopic has no type of its own: its run is scored under all of them anyway.
    assert "results/runs/isic16/telescopic/seed42/per_prompt.csv" in step.source.reads
    assert not any("every_prompt/isic16/telescopic" in path for path in step.source.reads)
    ablations = full.study.model_dump()["ablations"]
    assert "table_prompt_matrix" not in changed(ablations=ablations | {"prompts": None}).steps


def test_methods_are_paired_with_what_augmentation_makes_of_them(full, demo):
    pairs = full.steps["table_augmentation"].source.options["methods"]
    assert pairs == {name: f"{name}_light" for name in ("unet", *full.study.main[1:])}
    assert demo.steps["table_augmentation"].source.options["methods"] == {"telescopic": "telescopic_light"}
    assert full.steps["figure_augmentation"].source.options["variants"] == list(pairs)
    less = changed(ablations=full.study.model_dump()["ablations"] | {"augmentation": None})
    assert not {"table_augmentation", "figure_augmentation"} & set(less.steps)
    assert (
        "augmentation" in full.steps["paper"].source.inputs and "augmentation" not in less.steps["paper"].source.inputs
    )


def test_gradients_are_compared_between_base_dimensions_alone(full):
    dimensions = full.steps["table_gradients"].source.options["dimensions"]
    assert dimensions == {"telescopic": 64, "base_16": 16, "base_32": 32, "base_128": 128, "base_256": 256}
    ablations = full.study.model_dump()["ablations"]
    assert "table_gradients" not in changed(ablations=ablations | {"depth": None}).steps


def test_families_of_width_schedules_show_them(full):
    shown = {name for name in full.families if full.steps[f"figure_ablation_{name}"].module.endswith("ablation_depth")}
    assert shown == {"depth", "order", "uniform_32", "uniform_128", "uniform_256"}
    order = full.steps["figure_ablation_order"].source
    assert order.options["learned"] == ["learned"]
    assert "results/runs/busi/learned/seed41/widths.json" in order.reads
    assert not any(path.endswith("widths.json") for path in full.steps["figure_ablation_depth"].source.reads)


def test_no_two_steps_write_the_same_file(full):
    paths = [path for step in full.steps.values() for path in step.outputs.values()]
    assert len(paths) == len(set(paths))
    assert set(full.targets()) <= {*paths, "results/regression.passed"}
    assert {"results/tables/evaluation_choices.csv", "results/prompt_sensitivity.pdf"} <= set(full.targets())


def test_every_step_can_be_made_from_files_that_others_make(full):
    """Inputs are the runs' files, other steps' outputs, or what the data and cost rules make."""
    made = {path for step in full.steps.values() for path in step.outputs.values()}
    others = (
        "results/runs/",
        "results/transfer/",
        "results/every_prompt/",
        "results/mirrored/",
        "results/datasets/",
        "results/gallery/",
        "results/released/",
        "results/cost.csv",
        "results/speed.csv",
        "workflow/resources/",
    )
    for step in full.steps.values():
        for path in (*step.source.reads, *step.source.inputs.values()):
            assert path in made or path.startswith(others), f"{step.name}: nothing makes {path}"


def test_runs_that_are_scored_with_their_mirror_images(full):
    def scored(plan) -> list[str]:
        reads = plan.steps["table_evaluation_choices"].source.reads
        return [path for path in reads if path.startswith("results/mirrored/")]

    # The study's seeds, not the further ones of telescopic and uniform.
    assert len(scored(full)) == 8 * 5 * 3 and "results/mirrored/busi/telescopic/seed43/per_case.csv" in scored(full)
    few = {"variants": ["lora"], "datasets": ["busi"], "seeds": [42, 50]}
    assert scored(changed(test_time=few)) == ["results/mirrored/busi/lora/seed42/per_case.csv"]
    assert not scored(changed(test_time=None))


def test_every_result_of_the_report_has_a_caption(full):
    shown = [step.entry for step in full.steps.values() if step.entry]
    assert len(shown) > 30
    for entry in shown:
        assert len((ROOT / f"workflow/report/{entry.caption}.rst").read_text()) > 60
    used = {entry.caption for entry in shown}
    written = {path.stem for path in (ROOT / "workflow/report").glob("*.rst")} - {"workflow"}
    assert written == used


def test_a_command_line_is_quoted_and_can_be_moved(full):
    step = changed(results="my results").steps["table_ablation_alpha"]
    words = step.arguments()
    assert words[words.index("--runs") + 1] == "my results/ablations/alpha.csv"
    assert "'my results/ablations/alpha.csv'" in step.command()
    moved = step.arguments(lambda path: f"elsewhere/{path}")
    assert moved[moved.index("--output") + 1] == "elsewhere/my results/tables/ablation_alpha"
    assert moved[moved.index("--results") + 1] == "my results"


def test_labels_are_those_of_the_rows_and_datasets_that_are_shown(full):
    labels = full.steps["table_ablation_alpha"].source.options["labels"]
    assert labels["alpha_from_0"] == "α learned from 0"
    assert "bkai" not in labels
    assert labels["isic16"] == "ISIC 2016"
    assert "lora" not in labels


def test_numbers_that_cannot_be_compared_with_the_papers_say_so(full, demo):
    assert full.note() == ""
    assert demo.note().startswith("Not comparable with the paper: phantom images; a tiny backbone")
    other = changed(
        archives={"official": False, "description": "reduced copies"}, backbone={"source": "folder", "folder": "x"}
    )
    assert other.note() == "Not comparable with the paper: reduced copies; the backbone of x."
    assert demo.steps["reproduction"].source.options["comparable"] is False
    words = demo.note()
    epochs = demo.study.training.max_epochs
    assert (
        f"image_size 96 (352); training: learning_rate 0.01, batch_size 16, min_epochs 4, max_epochs {epochs};" in words
    )
    further = "more_seeds 42 for decoder_only end_to_end uniform telescopic"
    seeds = f"seeds 41; {further}; seeds of 11 ablations; transfer.seeds 41."
    assert words.endswith(f"Other seeds than the shipped study's: {seeds}")
    assert len(words) < 550
    short = demo.steps["figure_overview"].source.options["note"]
    assert short.endswith("weights; changed settings, named below each table. Other seeds than the shipped study's.")
    assert demo.steps["table_main"].source.options["note"] == words


def test_a_changed_setting_makes_the_study_another_and_other_seeds_are_named():
    plan = changed(split="deduplicated")
    words = "changed settings (shipped ones in brackets): split deduplicated (published)."
    assert plan.note() == f"Not comparable with the paper: {words}"
    for step in plan.steps.values():
        if "note" in step.source.options:
            assert step.source.options["note"] == plan.note()
    assert not plan.comparable()
    assert plan.steps["reproduction"].source.options["comparable"] is False
    # The tolerance takes the number of seeds into account, so other seeds are judged as well.
    plan = changed(seeds=[1, 2, 3])
    assert plan.note() == "Other seeds than the shipped study's: seeds 1 2 3."
    assert plan.comparable() and plan.steps["reproduction"].source.options["comparable"] is True
    plan = changed(archives={"allow_missing": {"bkai": 3}})
    assert plan.note() == "Not comparable with the paper: cases may be missing in bkai."
    plan = changed(backbone={"source": "hub", "revision": "x"})
    assert plan.note() == "Not comparable with the paper: the backbone CIDAS/clipseg-rd64-refined at x."


def test_shares_of_the_training_cases_belong_to_the_method_with_all_of_them(full):
    points = full.steps["figure_data_efficiency"].source.options["points"]
    assert points["uniform_data_05"] == {"method": "Uniform", "fraction": 0.05}
    assert points["telescopic"] == {"method": "Telescopic", "fraction": 1.0}


def test_learned_scales_are_drawn_only_where_they_are_learned(full):
    assert "figure_alpha_by_depth" in full.steps
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["variants"]["telescopic"]["alpha_learned"] = False
    assert "figure_alpha_by_depth" not in Plan(load_study(config)).steps

"""paper.md: every verdict follows from the numbers, in every direction that it can go."""

import json

import pandas as pd
import pytest
from reporting_support import LABELS, REPORTED, run_main

from pipeline.evaluation.readers import read_reported
from pipeline.reporting import paper as module
from pipeline.reporting.answers import TEST_TIME
from pipeline.reporting.paper import paper

NOTE = "Not comparable with the paper: phantom images; a tiny backbone."


def _judged(variant, value, reported, verdict, dataset="average", source="paper", method=None, reason=""):
    """A reported row, and the verdict on its method, which has no other."""
    row = {"method": method or variant, "variant": variant, "dataset": dataset, "source": source, "reported": reported}
    row |= {"value": value, "difference": None if value is None else value - reported, "verdict": verdict}
    row |= {"tolerance": 1.0, "must_reproduce": False, "seeds": 3, "p_holm": 0.2, "reason": reason}
    return [row, row | dict.fromkeys(("reported", "value", "difference", "tolerance")) | {"dataset": "overall"}]


def _cost(telescopic=613_297, uniform=613_297, end_to_end=150_747_746):
    counts = {"telescopic": telescopic, "uniform": uniform, "end_to_end": end_to_end}
    index = pd.Index(counts, name="variant")
    return pd.DataFrame({"trainable_parameters": list(counts.values())}, index=index)


def _dsc(telescopic, uniform, end_to_end):
    rows = [
        ("busi", "telescopic", 41, telescopic),
        ("busi", "uniform", 41, uniform),
        ("busi", "end_to_end", 41, end_to_end),
    ]
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])


def _components(busi, outcome):
    """The family's table with vision only ``busi`` points above the full method, and as good on average."""
    rows = {"variant": ["telescopic", "vision"], "busi_difference": [None, busi], "average_difference": [None, 0.1]}
    rows |= {"busi_low": [None, busi - 0.2], "busi_high": [None, busi + 0.2], "busi_seeds_needed": [None, 5]}
    rows |= {"average_low": [None, -0.2], "average_high": [None, 0.4], "average_seeds_needed": [None, 4]}
    rows |= {"busi_outcome": [None, outcome], "average_outcome": [None, "equivalent"]}
    return pd.DataFrame(rows)


def _comparison(uniform=(-1.6, -1.9, -1.3, "worse"), **others):
    """Of each variant: difference to telescopic, its interval, the outcome."""
    others = {"end_to_end": (0.1, -0.4, 0.6, "equivalent"), "decoder_only": (-2.0, -2.5, -1.5, "worse")} | others
    rows = [
        dict(zip(("difference", "low", "high", "outcome"), row, strict=True), variant=variant)
        for variant, row in (others | {"uniform": uniform}).items()
    ]
    settings = {"dataset": "average", "reference": "telescopic", "margin": 1.0, "seeds": 10, "seeds_needed": 14.0}
    return pd.DataFrame(rows).assign(**settings)


def _page(**changed):
    given = {
        "regression": _judged("telescopic", 85.5, 85.58, "reproduces"),
        "dsc": _dsc(0.86, 0.85, 0.87),
        "cost": _cost(),
        "reported_table": read_reported(REPORTED),
        "variants": ["telescopic", "uniform", "end_to_end"],
        "labels": LABELS | {"busi": "BUSI"},
        "components": _components(1.5, "better"),
        "comparison": _comparison(),
        "figures": ["pareto", "comparison", "transfer", "width_schedule"],
        "tables": ["main", "comparison", "data_audit"],
        "note": "",
    } | changed
    return paper(**given)


def _sections(**changed):
    parts = _page(**changed).split("\n## ")
    return parts[0], dict(enumerate(parts[1:], start=1))


def test_everything_reproduces():
    head, sections = _sections()
    assert not head.count("> ") and len(sections) == 10
    assert head.splitlines()[2] == (
        "**Reported DSC of Telescopic Adapters: reproduces.** Telescopic Adapters is equivalent to CLIPSeg, "
        "end-to-end; better than CLIPSeg, decoder only; better than Uniform adapters."
    )
    assert "| average DSC of VLSM-Adapter (dense) | 84.17 | 84.43 |" in sections[9]
    assert "**Reproduces**: 613,297 trained parameters against the paper's 613k" in sections[1]
    assert "244.6 times" in sections[1] and "![Figure" in sections[1] and "(width_schedule.png)" in sections[1]
    assert "**Reproduces**: Telescopic Adapters. Single rows: 1 within tolerance" in sections[2]
    assert "largest difference -0.08 points" in sections[2] and "Overall" not in sections[2]
    assert "| Telescopic Adapters | Average | 85.58 | 85.50 | -0.08 | 1.00 | reproduces |" in sections[2]
    assert (
        "**Equivalent, so supported**: Telescopic Adapters minus CLIPSeg, end-to-end is -0.10 DSC points (Average; 95% "
        "interval -0.60 to +0.40; 10 seeds), surely less than 1 apart."
    ) in sections[4]
    assert "**Better, so supported**: Telescopic Adapters minus CLIPSeg, decoder only is +2.00" in sections[4]
    assert "**Reproduces**: Telescopic Adapters is on the measured Pareto front of 3 variants" in sections[5]
    assert "against it, worse: CLIPSeg, decoder only, Uniform adapters; equivalent: CLIPSeg, end-to-end" in sections[5]
    assert "**Reproduces**, the remark that on BUSI" in sections[6]
    assert "worse, -1.50 DSC points (BUSI; 95% interval -1.70 to -1.30); equivalent, -0.10" in sections[6]
    assert "**Better, so supported**: Telescopic Adapters minus Uniform adapters is +1.60" in sections[7]
    assert "Not judged" in sections[8]


def test_links_only_lead_to_what_is_there():
    _, sections = _sections()
    assert "Here: [tables/main.md](tables/main.md)\n" in sections[2]
    assert "Here: n/a" in sections[8] and "qualitative" not in sections[8]
    assert "(comparison.png)" in sections[4]
    beyond = sections[10]
    assert "(transfer.pdf)" in beyond and "(tables/data_audit.md)" in beyond
    assert "(tables/comparison.md)" not in beyond and "(pareto.pdf)" not in beyond


def test_nothing_reproduces():
    head, sections = _sections(
        regression=_judged("telescopic", 80.0, 85.58, "differs"),
        cost=_cost(telescopic=605_089),
        dsc=_dsc(0.84, 0.85, 0.87),
        components=_components(-1.5, "worse"),
        comparison=_comparison((1.6, 1.3, 1.9, "better"), end_to_end=(3.0, 2.5, 3.5, "better")),
    )
    assert "**Reported DSC of Telescopic Adapters: differs.**" in head and "worse than Uniform adapters" in head
    assert "**Does not reproduce**: 605,089 trained parameters" in sections[1]
    assert "**Differs**: Telescopic Adapters. Single rows: 1 beyond it" in sections[2]
    assert "-5.58" in sections[2]
    assert "**Worse, so contradicted**: Telescopic Adapters minus CLIPSeg, end-to-end is -3.00" in sections[4]
    assert "**Does not reproduce**: Telescopic Adapters is on" in sections[5]
    assert "better: CLIPSeg, end-to-end, Uniform adapters; worse: CLIPSeg, decoder only" in sections[5]
    assert "**Does not reproduce**, the remark" in sections[6]
    assert "**Worse, so contradicted**" in sections[7] and "-1.60 DSC points" in sections[7]


@pytest.mark.parametrize("difference", [-0.01, 0.01])
def test_a_difference_that_is_not_resolved_decides_nothing(difference):
    """Whatever its sign."""
    gap = (difference, difference - 2, difference + 2, "not resolved")
    _, sections = _sections(
        dsc=_dsc(0.86, 0.86 + difference / 100, 0.87),
        comparison=_comparison(gap, end_to_end=gap),
        components=_components(difference, "not resolved"),
    )
    for number in (4, 7):
        assert "**Not resolved**: Telescopic Adapters minus" in sections[number]
        assert "; 14 seeds of each would resolve it if they are equal)" in sections[number]
    assert "**Not resolved**: Telescopic Adapters is" in sections[5]
    assert "**Not resolved**, the remark" in sections[6]


def test_a_single_seed_decides_nothing():
    gap = (-0.5, None, None, "not resolved")
    comparison = _comparison(gap).assign(seeds=1, seeds_needed=None)
    _, sections = _sections(comparison=comparison)
    assert "+0.50 DSC points (Average; 1 seed; how many seeds would resolve it is not known from one)" in sections[7]
    _, sections = _sections(comparison=_comparison(gap).assign(seeds_needed=float("inf")))
    assert "more than 1000 seeds of each would resolve it" in sections[7]


def test_equal_methods_leave_the_claim_of_depth_without_consequence():
    _, sections = _sections(comparison=_comparison((-0.3, -0.5, -0.1, "equivalent")))
    assert "**Equivalent, so of no consequence**" in sections[7] and "**Reproduces**" in sections[5]


def test_methods_are_named_by_verdict_and_rows_are_counted():
    rows = [
        *_judged("telescopic", 85.5, 85.58, "inconclusive", reason="average: one seed"),
        *_judged("decoder_only", 80.0, 83.33, "differs", method="end_to_end"),
        *_judged("lora", None, 84.10, "not run"),
        *_judged("vlsm_dense", None, 89.10, "not run", "kvasir_seg", "vlsm-adapter"),
    ]
    _, sections = _sections(regression=rows)
    assert (
        "**Differs**: CLIPSeg, decoder only (reported as CLIPSeg, end-to-end). "
        "**Inconclusive**: Telescopic Adapters (average: one seed). **Not run**: LoRA. Single rows: 1 "
        "beyond it, 1 inconclusive; 1 not run; largest difference -3.33"
    ) in sections[2]
    assert "**Reproduces**" not in sections[2]
    assert "| CLIPSeg, decoder only (reported as CLIPSeg, end-to-end) | Average |" in sections[2]
    assert "| LoRA | Average | 84.10 | n/a | n/a | 1.00 | not run |" in sections[2]
    assert "**Not run**: none of its 1 rows." in sections[3]


def test_methods_that_are_only_reported_are_not_the_studys_to_run():
    cris = _judged("cris", None, 86.93, "not run")
    _, sections = _sections(regression=[*_judged("telescopic", 85.5, 85.58, "reproduces"), *cris])
    assert "1 within tolerance; 1 of methods that are only reported;" in sections[2]
    assert "| CRIS | Average | 86.93 | n/a | n/a | 1.00 | reported only |" in sections[2]
    _, sections = _sections(regression=[*_judged("telescopic", 60.0, 85.58, "not comparable"), *cris], note=NOTE)
    assert "(1 of 1 rows measured; 1 of methods that are only reported)" in sections[2]
    assert "not run" not in sections[2]
    _, sections = _sections(regression=cris)
    assert "**Not run**: the study has none of these variants." in sections[2]


def test_a_note_makes_everything_not_comparable_and_gives_the_reason():
    rows = [*_judged("telescopic", 60.0, 85.58, "not comparable"), *_judged("lora", None, 86.93, "not run")]
    head, sections = _sections(regression=rows, cost=_cost(telescopic=20_000), note=NOTE)
    assert f"> {NOTE}" in head
    assert head.splitlines()[2].startswith("**Says nothing about the paper (phantom images; a tiny backbone).** Here, ")
    for number in (1, 2, 4, 5, 6, 7):
        assert "**Not comparable**: phantom images; a tiny backbone" in sections[number]
        assert "**Reproduces" not in sections[number] and "supported" not in sections[number]
    assert "(1 of 2 rows measured; 1 not run)" in sections[2]


def test_other_seeds_are_told_and_judged():
    head, sections = _sections(note="Other seeds than the shipped study's: seeds 41.")
    assert "> Other seeds than the shipped study's: seeds 41." in head
    assert sections[2] == _sections()[1][2]
    note = NOTE.removesuffix(".") + "; changed settings: split x. Other seeds than the shipped study's: seeds 41."
    head, sections = _sections(note=note)
    assert f"> {note}" in head
    assert "**Not comparable**: phantom images; a tiny backbone. Here," in sections[4]


def test_what_is_missing_is_not_run():
    comparison = _comparison().assign(variant="lora")
    _, sections = _sections(
        regression=[], components=None, comparison=comparison, dsc=_dsc(0.8, 0.8, 0.8)[1:], cost=_cost()[1:]
    )
    for number in (1, 2, 4, 5, 6, 7):
        assert "**Not run**" in sections[number], number


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variant": ["telescopic", "lora"]}, "is missing, or the two are not compared"),
        ({"busi_outcome": ["better", None]}, "is missing, or the two are not compared"),
        ({"busi_difference": None, "average_difference": None}, "has no run"),
    ],
)
def test_components_need_both_variants(changes, reason):
    _, sections = _sections(components=_components(0.5, "better").assign(**changes))
    assert f"**Not run**: the vision-only variant or the full method {reason}." in sections[6]


def test_labels_and_notes_are_shown_as_text():
    labels = {"telescopic": "<b>Ours</b> | *new*", "uniform": "[u](v)", "busi": "<i>"}
    _, sections = _sections(labels=labels)
    assert r"| \<b>Ours\</b> \| \*new\* | Average |" in sections[2]
    assert r"\<b>Ours\</b> \| \*new\* minus [u\](v) is" in sections[7]
    assert r"\<b>Ours\</b>" in sections[5] and r"(\<i>;" in sections[6]
    head, sections = _sections(
        regression=_judged("lora", 1.0, 2.0, "not comparable"), note="Not comparable with the paper: <script> & *co*."
    )
    assert r"> Not comparable with the paper: \<script> & \*co\*." in head
    assert r"**Not comparable**: \<script> & \*co\* (1 of 1" in sections[2]


def test_command_line(tmp_path):
    record = {"rows": _judged("telescopic", 85.5, 85.58, "reproduces"), "resolution": 0.9, "n_theirs": 1}
    (tmp_path / "regression.json").write_text(json.dumps(record))
    _dsc(0.86, 0.85, 0.87).to_csv(tmp_path / "dsc.csv", index=False)
    _cost().to_csv(tmp_path / "cost.csv")
    _comparison().to_csv(tmp_path / "comparison.csv", index=False)
    options = ["--regression", tmp_path / "regression.json", "--reported", REPORTED]
    options += [word for name in ("dsc", "cost", "comparison") for word in (f"--{name}", tmp_path / f"{name}.csv")]
    options += ["--variants", ["telescopic", "uniform"], "--labels", LABELS, "--figures", ["pareto"], "--tables", []]
    written = []
    for _ in range(2):
        run_main(module, *options, "--output", tmp_path / "paper.md")
        written.append((tmp_path / "paper.md").read_text())
    assert written[0] == written[1] and written[0].startswith("# The paper and this study\n")
    assert "(pareto.png)" in written[0] and "**Not run**: the study has no ablation of the components." in written[0]


def test_further_questions_are_answered_in_outcomes():
    rows = [
        ("busi", "telescopic", -3.2, -4.0, -2.4, "worse"),
        ("busi", "uniform", 0.1, None, None, "not resolved"),
        ("busi", "zero_shot", -2.5, -2.5, -2.5, "worse"),
        ("clinicdb", "telescopic", -0.1, -0.4, 0.2, "equivalent"),
    ]
    leaks = pd.DataFrame(rows, columns=["dataset", "variant", "difference", "low", "high", "outcome"])
    page = _page(leaks=leaks, tables=["main", "leaks"], figures=["pareto", "leaks"])
    answer = next(line for line in page.splitlines() if "on both sides of the published splits?" in line)
    assert (
        "published one: worse on BUSI (-3.20 points, 95% interval -4.00 to -2.40), equivalent on clinicdb (-0.10 points"
        in answer
    )
    assert "of all 4 comparisons 2 worse, 1 equivalent, 1 not resolved" in answer
    assert "CLIPSeg (zero-shot), which is not trained, changes by -2.50 points on BUSI" in answer
    assert answer.endswith("Here: [leaks.pdf](leaks.pdf), [tables/leaks.md](tables/leaks.md)")
    assert page.count("(leaks.pdf)") == 1
    assert "Further questions" not in _page()
    page = _page(augmentation=leaks, tables=["main", "augmentation"], figures=["pareto"])
    answer = next(line for line in page.splitlines() if "Does light augmentation" in line)
    assert "trained with it, against without: worse on BUSI (-3.20 points" in answer
    assert answer.endswith("Here: [tables/augmentation.md](tables/augmentation.md)")
    kinds = [
        ("within the study", "uniform", "better"),
        ("within the study", "lora", "worse"),
        ("to the others", "lora", "better"),
    ]
    page = _page(outcomes=pd.DataFrame(kinds, columns=["transfer", "variant", "outcome"]))
    assert (
        "The other methods, compared with Telescopic Adapters: within the study 1 better, 1 worse; to the others "
        "1 better. Here: [transfer.pdf]"
    ) in page


def test_whether_tuning_changes_the_ranking_is_answered():
    def rows(setting, outcomes, changes):
        variants = zip(["lora", "uniform", "telescopic"], outcomes, changes, strict=True)
        return [(setting, name, 80.0, outcome, "worse", change) for name, outcome, change in variants]

    columns = ["setting", "variant", "busi", "average_outcome", "busi_change_outcome", "average_change_outcome"]
    before = rows("protocol", ["worse", "equivalent", None], [None, None, None])
    after = rows("tuned", ["not resolved", "equivalent", None], ["better", "same rates", "not resolved"])
    page = _page(tuning=pd.DataFrame(before + after, columns=columns), tables=["main", "tuned"])
    assert (
        "**Does it change the ranking if all methods are tuned alike?** Outcomes against Telescopic Adapters (Average) "
        "that tuning changes: LoRA, worse before and not resolved after. With all methods tuned alike, equivalent: "
        "Uniform adapters; not resolved: LoRA. Tuned against the protocol's rates, of 3 methods: 1 better, "
        "1 not resolved, 1 with the same rates. Here: [tables/tuned.md](tables/tuned.md)"
    ) in page
    after = rows("tuned", ["worse", "equivalent", None], ["worse"] * 3)
    page = _page(tuning=pd.DataFrame(before + after, columns=columns))
    assert "that tuning changes: none. With all" in page and "of 3 methods: 3 worse." in page


def test_each_family_is_answered_in_outcomes():
    families = {"components": ("Where adapters stand", "telescopic", _components(1.5, "better"))}
    page = _page(families=families, figures=["ablation_components"], tables=["ablation_components"])
    assert "**Where adapters stand.** Against Telescopic Adapters (Average). Equivalent: vision. Here: " in page
    answer = next(line for line in page.splitlines() if "Where adapters stand" in line)
    assert "(ablation_components.pdf)" in answer and "(tables/ablation_components.md)" in answer


def test_the_front_of_methods_is_named():
    rows = [
        ("bitfit", 161_249, 71.0, 3.0, True),
        ("lora", 608_256, 78.0, 2.0, False),
        ("telescopic", 613_297, 79, 1, True),
    ]
    columns = ["variant", "trainable_parameters", "dsc", "rank", "front_trainable_parameters"]
    table = pd.DataFrame(rows, columns=columns).assign(rank_critical=1.5, rank_p=0.012)
    page = _page(method_table=table, tables=["main", "methods"], figures=["pareto", "methods"])
    assert (
        "of 3 methods: bitfit (71.00% with 161,249); Telescopic Adapters (79.00% with 613,297). The best mean rank, "
        "1.0, is that of Telescopic Adapters; less than the critical difference of 1.50 away (Nemenyi, 5%; Friedman's "
        "p = 0.012): 1 of the others. Here: [methods.pdf](methods.pdf), [tables/methods.md](tables/methods.md)"
    ) in page
    assert "Too few trainings for a test" in _page(method_table=table.assign(rank_critical=float("nan")))


@pytest.mark.parametrize(
    ("ratio", "low", "high", "verdict"),
    [
        (1.4, 1.1, 1.8, "Contradicted"),
        (30, 12, 75, "Supported"),
        (8, 4, 16, "Not resolved"),
        (8, None, None, "Not resolved"),
    ],
)
def test_whether_gradients_explode(ratio, low, high, verdict):
    rows = [(32, 6, 0.1, 0.05, 0.2, 0.0), (64, 6, None, None, None, 0.0), (128, 6, ratio, low, high, 0.25)]
    table = pd.DataFrame(rows, columns=["base_dimension", "runs", "ratio", "low", "high", "skipped_percent"])
    answer = next(line for line in _page(gradient=table).splitlines() if "Do gradients explode" in line)
    assert f"**{verdict}** (exploding: surely over 10 times)" in answer
    assert f"{ratio:.2f} times at D = 128" in answer and "0.25% skipped steps" in answer and "D = 32" not in answer
    assert "**Not comparable**" in _page(gradient=table, note=NOTE)
    assert "**Not run**: no variant has a larger base dimension" in _page(gradient=table[:2])


def test_training_with_one_prompt_type_is_answered():
    rows = [
        ("its own type", "busi", 1.0, None, None, "not resolved"),
        ("its own type", "average", 2.0, 1.0, 3.0, "better"),
        ("other types", "average", -9.0, -10.0, -8.0, "worse"),
    ]
    table = pd.DataFrame(rows, columns=["evaluated", "dataset", "difference", "low", "high", "outcome"])
    page = _page(prompt_outcomes=table)
    assert (
        "better under its own type (+2.00 points, 95% interval +1.00 to +3.00), worse under other types (-9.00" in page
    )


def test_averages_of_predictions_and_another_threshold_are_answered():
    table = pd.DataFrame(
        [
            ("busi", "telescopic", 9.0, 9.0, 9.0),
            ("average", "zero_shot", 1.25, None, -0.5),
            ("average", "telescopic", 0.5, None, 0.125),
        ],
        columns=["dataset", "variant", *(f"{name}_difference" for name in TEST_TIME)],
    )
    page = _page(choices=table, tables=["main", "evaluation_choices"])
    assert (
        "Telescopic Adapters (Average): probabilities averaged over prompts, +0.50 points (+0.50 to +1.25 in 2 "
        "methods); the threshold of validation, +0.12 points (-0.50 to +0.12 in 2 methods). "
        "Here: [tables/evaluation_choices.md](tables/evaluation_choices.md)"
    ) in page
    assert "Not run." in _page(choices=table[table["variant"] == "zero_shot"], tables=["main", "evaluation_choices"])

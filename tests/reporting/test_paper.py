"""paper.md: every verdict follows from the numbers, in every direction that it can go."""

import json

import pandas as pd
import pytest
from reporting_support import LABELS, REPORTED, run_main

from pipeline.evaluation.readers import read_reported
from pipeline.reporting import paper as module
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


def _components(busi):
    rows = {"variant": ["telescopic", "vision"], "busi": [66.0 + busi, 66.0], "busi_sd": [0.1, 0.1]}
    return pd.DataFrame(rows)


def _comparison(difference, low, high):
    row = {"dataset": "average", "variant": "uniform", "reference": "telescopic", "difference": difference}
    return pd.DataFrame([row | {"difference_low": low, "difference_high": high}])


def _page(**changed):
    given = {
        "regression": _judged("telescopic", 85.5, 85.58, "reproduces"),
        "dsc": _dsc(0.86, 0.85, 0.87),
        "cost": _cost(),
        "reported_table": read_reported(REPORTED),
        "variants": ["telescopic", "uniform", "end_to_end"],
        "labels": LABELS | {"busi": "BUSI"},
        "components": _components(-0.5),
        "comparison": _comparison(-0.6, -0.9, -0.3),
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
    assert not head.count("> ") and len(sections) == 9
    assert "| average DSC of VLSM-Adapter (dense) | 84.17 | 84.43 |" in sections[8]
    assert "**Reproduces**: 613,297 trained parameters against the paper's 613k" in sections[1]
    assert "244.6 times" in sections[1] and "![Figure" in sections[1] and "(width_schedule.png)" in sections[1]
    assert "**Reproduces**: Telescopic Adapters. Single rows: 1 within tolerance" in sections[2]
    assert "largest difference -0.08 points" in sections[2] and "Overall" not in sections[2]
    assert "| Telescopic Adapters | Average | 85.58 | 85.50 | -0.08 | 1.00 | reproduces |" in sections[2]
    assert "**Reproduces**: Telescopic Adapters is on the measured Pareto front of 3 variants" in sections[4]
    assert "**Reproduces** the remark that on BUSI" in sections[5] and "-0.50 (BUSI) points" in sections[5]
    assert "**Supported**" in sections[6] and "+0.60 DSC points (Average; 95% interval +0.30 to +0.90)" in sections[6]
    assert "Not judged" in sections[7]


def test_links_only_lead_to_what_is_there():
    _, sections = _sections()
    assert "Here: [tables/main.md](tables/main.md)\n" in sections[2]
    assert "Here: n/a" in sections[7] and "qualitative" not in sections[7]
    beyond = sections[9]
    # The table of comparisons stands in section 6; the figure of that name does not.
    assert "(comparison.pdf)" in beyond and "(transfer.pdf)" in beyond and "(tables/data_audit.md)" in beyond
    assert "(tables/comparison.md)" not in beyond and "(pareto.pdf)" not in beyond


def test_nothing_reproduces():
    _, sections = _sections(
        regression=_judged("telescopic", 80.0, 85.58, "differs"),
        cost=_cost(telescopic=605_089),
        dsc=_dsc(0.84, 0.85, 0.87),
        components=_components(+0.5),
        comparison=_comparison(0.6, 0.3, 0.9),
    )
    assert "**Does not reproduce**: 605,089 trained parameters" in sections[1]
    assert "**Differs**: Telescopic Adapters. Single rows: 1 beyond it" in sections[2]
    assert "-5.58" in sections[2]
    assert "**Does not reproduce**: Telescopic Adapters is on" in sections[4]
    assert "a higher average DSC is reached by Uniform adapters" in sections[4]
    assert "**Does not reproduce** the remark" in sections[5]
    assert "**Contradicted**" in sections[6] and "-0.60 DSC points" in sections[6]


def test_an_interval_around_zero_is_not_significant():
    _, sections = _sections(comparison=_comparison(-0.2, -0.6, 0.2))
    assert "**Not significant**: Telescopic Adapters minus Uniform adapters" in sections[6]


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
    for number in (1, 2, 4, 5, 6):
        assert "**Not comparable**: phantom images; a tiny backbone" in sections[number]
        assert "**Reproduces" not in sections[number] and "**Supported" not in sections[number]
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
    comparison = _comparison(-0.6, -0.9, -0.3).assign(variant="lora")
    _, sections = _sections(
        regression=[], components=None, comparison=comparison, dsc=_dsc(0.8, 0.8, 0.8)[1:], cost=_cost()[1:]
    )
    for number in (1, 2, 4, 5, 6):
        assert "**Not run**" in sections[number], number


@pytest.mark.parametrize(
    ("variants", "scores", "reason"),
    [(["telescopic", "lora"], [66.0, 66.0], "is missing"), (["telescopic", "vision"], [66.0, None], "has no run")],
)
def test_components_need_both_variants(variants, scores, reason):
    _, sections = _sections(components=pd.DataFrame({"variant": variants, "busi": scores, "busi_sd": 0.1}))
    assert f"**Not run**: the vision-only variant or the full method {reason}." in sections[5]


def test_labels_and_notes_are_shown_as_text():
    labels = {"telescopic": "<b>Ours</b> | *new*", "uniform": "[u](v)", "busi": "<i>"}
    _, sections = _sections(labels=labels)
    assert r"| \<b>Ours\</b> \| \*new\* | Average |" in sections[2]
    assert r"\<b>Ours\</b> \| \*new\* minus [u\](v) at equal parameters" in sections[6]
    assert r"\<b>Ours\</b>" in sections[4] and r"(\<i>)" in sections[5]
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
    _comparison(-0.6, -0.9, -0.3).to_csv(tmp_path / "comparison.csv", index=False)
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
        ("clinicdb", "telescopic", -0.1, -0.4, 0.2, "equivalent"),
    ]
    leaks = pd.DataFrame(rows, columns=["dataset", "variant", "difference", "low", "high", "outcome"])
    page = _page(leaks=leaks, tables=["main", "leaks"], figures=["pareto", "leaks"])
    answer = next(line for line in page.splitlines() if "on both sides of the published splits?" in line)
    assert (
        "published one: worse on BUSI (-3.20 points, 95% interval -4.00 to -2.40), equivalent on clinicdb (-0.10 points"
        in answer
    )
    assert "of all 3 comparisons 1 worse, 1 equivalent, 1 not resolved" in answer
    assert answer.endswith("Here: [leaks.pdf](leaks.pdf), [tables/leaks.md](tables/leaks.md)")
    assert page.count("(leaks.pdf)") == 1
    assert "Further questions" not in _page()
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

"""paper.md: the paper's tables and figures beside this study's, each with a computed verdict on its reproduction."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import front, measured, reported_parameters
from pipeline.evaluation.csv_table import read_table
from pipeline.evaluation.methods import BETTER, EQUIVALENT, NOT_RESOLVED, OUTCOMES, WORSE
from pipeline.evaluation.readers import AVERAGE, OVERALL, dataset_order, read_cost, read_dsc, read_reported
from pipeline.evaluation.reproduction import DIFFERS, INCONCLUSIVE, NOT_COMPARABLE, NOT_RUN, REPRODUCES
from pipeline.reporting import markdown
from pipeline.reporting.answers import (
    CHANGES,
    GRADIENTS,
    METHODS,
    PROMPTS,
    TRANSFERS,
    TUNED,
    at_test_time,
    changes,
    family,
    gradients,
    methods,
    prompts,
    transfers,
    tuned,
    untrained,
)
from pipeline.reporting.formats import NOT_AVAILABLE, number
from pipeline.reporting.inconsistencies import inconsistencies
from pipeline.reporting.options import label, parse_options
from pipeline.reporting.outcomes import seeds_needed
from pipeline.reporting.tables.family import COMPARED
from pipeline.reporting.tables.regression import VERDICTS, is_reported_only, read_regression, shown_verdict
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

METHOD, END_TO_END, DECODER_ONLY, UNIFORM = "telescopic", "end_to_end", "decoder_only", "uniform"
NOT_THE_PAPERS = "Not comparable with the paper:"
"""How the note of such a study begins."""
CLAIMED_RATIO = 244
"""How many times fewer parameters than end-to-end fine-tuning the paper's abstract states."""
SINGLE = ((REPRODUCES, "within tolerance"), (DIFFERS, "beyond it"), (INCONCLUSIVE, "inconclusive"))
INTRODUCTION = (
    "What the paper (arXiv 2512.13855, WACV 2026) shows, in its order as far as its text and public pages tell it, and "
    "this study's counterparts. The numbering is this page's. Each verdict is computed from the files beside it."
)
SECTIONS = (
    ("Figure: the framework and its widths by layer", ["width_schedule.pdf"]),
    (
        "Table: comparison with other methods",
        ["overview.pdf", "tables/main.md", "tables/secondary_metrics.md", "tables/efficiency.md"],
    ),
    (
        "The same table's baselines by dataset, from the VLSM-Adapter and MedVLSM papers",
        ["tables/regression.md"],
    ),
    (
        "Claim: as good as end-to-end fine-tuning with 613k parameters (its public code trains the decoder only)",
        ["comparison.pdf", "tables/comparison.md"],
    ),
    ("Figure: performance against trained parameters", ["pareto.pdf"]),
    ("Table: ablation of the components", ["ablation_components.pdf", "tables/ablation_components.md"]),
    (
        "Claim: deeper layers need more capacity (the paper has no uniform baseline at equal parameters)",
        ["ablation_depth.pdf", "tables/ablation_depth.md"],
    ),
    (
        "Figure: segmented examples",
        ["qualitative.pdf", "failures.pdf", "qualitative_supplement.pdf", "failures_supplement.pdf"],
    ),
)
"""Titles in the paper's order, each with the figures and tables that it shows; none appears in two sections."""


_OF_METHOD = {BETTER: WORSE, WORSE: BETTER}
"""The outcome of a comparison seen from the reference."""
_AGAINST = {
    BETTER: "better than",
    WORSE: "worse than",
    EQUIVALENT: "equivalent to",
    NOT_RESOLVED: "not resolved against",
}


def _because(note: str) -> str:
    """The reason that ``note`` gives, as the end of a sentence, escaped for Markdown; the page's head has all of it."""
    reason = note.removeprefix(NOT_THE_PAPERS).strip().rstrip(".")
    for more in ("; changed settings", ". Other seeds"):
        reason = reason.partition(more)[0]
    return markdown.escape(reason) or "no reason is given"


def _judged(verdict: str, fact: str, note: str) -> str:
    """``verdict`` and the ``fact`` that it follows from; with a ``note`` the fact alone."""
    if note:
        return f"**Not comparable**: {_because(note)}. Here, {fact}."
    return f"**{verdict}**: {fact}."


def _reproduction(rows: Sequence[Mapping[str, Any]], names: Callable[[str], str], note: str) -> str:
    """Which methods reproduce over all their ``rows``, and how many rows do, in words."""
    whole = [row for row in rows if row["dataset"] == OVERALL and not is_reported_only(row)]
    ours = [row for row in rows if row["dataset"] != OVERALL and not is_reported_only(row)]
    if not whole:
        return "**Not run**: the study has none of these variants."
    counts = {verdict: sum(row["verdict"] == verdict for row in ours) for verdict in VERDICTS}
    others = sum(is_reported_only(row) for row in rows if row["dataset"] != OVERALL)
    rest = [(counts[NOT_RUN], "not run"), (others, "of methods that are only reported")]
    rest = "".join(f"; {count} {kind}" for count, kind in rest if count)
    if counts[NOT_COMPARABLE]:
        return f"**Not comparable**: {_because(note)} ({counts[NOT_COMPARABLE]} of {len(ours)} rows measured{rest})."
    if counts[NOT_RUN] == len(ours):
        return f"**Not run**: none of its {len(ours)} rows."
    sentences = []
    for verdict in (REPRODUCES, DIFFERS, INCONCLUSIVE, NOT_RUN):
        shown = [
            _reported_as(row, names) + (f" ({names(row['reason'])})" if row["reason"] else "")
            for row in whole
            if row["verdict"] == verdict
        ]
        if shown:
            sentences.append(f"**{verdict.capitalize()}**: {', '.join(shown)}.")
    measured = [row for row in ours if row["value"] is not None]
    worst = max(measured, key=lambda row: abs(row["difference"]))
    single = ", ".join(f"{counts[verdict]} {word}" for verdict, word in SINGLE if counts[verdict])
    return (
        f"{' '.join(sentences)} Single rows: {single}{rest}; largest difference "
        f"{worst['difference']:+.2f} points ({names(worst['variant'])}, {names(worst['dataset'])})."
    )


def _reported_as(row: Mapping[str, Any], names: Callable[[str], str]) -> str:
    """The name of what was measured, with that of the reported method if it is another."""
    name = names(row["variant"])
    return name if row["method"] == row["variant"] else f"{name} (reported as {names(row['method'])})"


def _rows_table(rows: Sequence[Mapping[str, Any]], names: Callable[[str], str]) -> list[str]:
    """Reported beside measured, row by row."""
    cells = []
    for row in (row for row in rows if row["dataset"] != OVERALL):
        patterns = {"reported": ".2f", "value": ".2f", "difference": "+.2f", "tolerance": ".2f"}
        numbers = [number(row[key], pattern) for key, pattern in patterns.items()]
        cells.append([_reported_as(row, names), names(row["dataset"]), *numbers, shown_verdict(row)])
    header = ["Variant", "Dataset", "Reported", "Measured", "Difference", "Tolerance", "Verdict"]
    return markdown.table(header, cells, "llrrrrl")


def _parameters(cost: pd.DataFrame, reported_table: pd.DataFrame, note: str) -> str:
    """Whether the method has as few parameters as the paper says."""
    if METHOD not in cost.index:
        return f"**Not run**: {METHOD} has no row in cost.csv."
    trained = int(cost.loc[METHOD, "trainable_parameters"])
    claimed, total = reported_parameters(reported_table, METHOD), reported_parameters(reported_table, END_TO_END)
    if not claimed or not total:
        raise PipelineError(
            f"reported.csv: trained parameters of {METHOD} and {END_TO_END} are missing; add their rows"
        )
    fact = f"{trained:,} trained parameters against the paper's {claimed // 1000}k"
    if round(trained, -3) != claimed:
        return f"**Not comparable**: {_because(note)} ({fact})." if note else f"**Does not reproduce**: {fact}."
    return (
        f"**Reproduces**: {fact}; the {total // 10**6}M of end-to-end fine-tuning are {total / trained:.1f} times as "
        f"many; the paper says {CLAIMED_RATIO}."
    )


def _last(comparison: pd.DataFrame) -> pd.DataFrame:
    """By variant, how it compares with the method: on average, or on the only dataset."""
    rows = comparison[comparison["reference"] == METHOD]
    # The average is the last dataset, if there are several.
    return rows[rows["dataset"] == rows["dataset"].iloc[-1]].set_index("variant") if len(rows) else rows


def _verdict(
    rows: Sequence[Mapping[str, Any]], comparison: pd.DataFrame, names: Callable[[str], str], note: str
) -> str:
    """The page in one line: whether the method's reported DSC reproduces, and how it compares with the baselines."""
    whole = [row["verdict"] for row in rows if row["dataset"] == OVERALL and row["variant"] == METHOD]
    first = f"Says nothing about the paper ({_because(note)})" if note else f"Reported DSC of {names(METHOD)}: "
    first += "" if note else (whole[0] if whole else NOT_RUN)
    found = _last(comparison)
    outcomes = [
        f"{_AGAINST[_OF_METHOD.get(outcome, outcome)]} {names(variant)}"
        for variant in (END_TO_END, DECODER_ONLY, UNIFORM)
        if variant in found.index and (outcome := found.at[variant, "outcome"])
    ]
    second = f" {'Here, ' if note else ''}{names(METHOD)} is {'; '.join(outcomes)}." if outcomes else ""
    return f"**{first}.**{second}"


def _pareto(
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    comparison: pd.DataFrame,
    variants: Sequence[str],
    names: Callable[[str], str],
    note: str,
) -> str:
    """Whether the method is on the front of DSC and parameters, and the best of those that leave most frozen."""
    datasets = dataset_order(dsc["dataset"])
    points = {}
    for variant in variants:
        score = measured(dsc, variant, datasets)[AVERAGE]
        if score is not None and variant in cost.index:
            points[variant] = (float(cost.loc[variant, "trainable_parameters"]), score.mean)
    if METHOD not in points:
        return f"**Not run**: {names(METHOD)} lacks a run on some dataset."
    rows = _last(comparison)
    if rows.empty:
        return f"**Not run**: no variant is compared with {names(METHOD)}."
    on_front = points[METHOD] in front(list(points.values()))
    found = {outcome: [name for name in rows.index if rows.at[name, "outcome"] == outcome] for outcome in OUTCOMES}
    fact = (
        f"{names(METHOD)} is {'on' if on_front else 'not on'} the measured Pareto front of {len(points)} variants; "
        "against it, "
        + "; ".join(f"{outcome}: {', '.join(map(names, found[outcome]))}" for outcome in OUTCOMES if found[outcome])
    )
    better, open_ = ([name for name in found[outcome] if name != END_TO_END] for outcome in (BETTER, NOT_RESOLVED))
    return _judged("Does not reproduce" if better else "Not resolved" if open_ else "Reproduces", fact, note)


def _gap(row: pd.Series, names: Callable[[str], str], dataset: str) -> str:
    """The method minus a variant: ``row`` holds the opposite, ``difference``, its interval and seeds."""
    gain, low, high = -row["difference"], -row["high"], -row["low"]
    seeds = f"{row['seeds']:.0f} {'seed' if row['seeds'] == 1 else 'seeds'}" if "seeds" in row else ""
    parts = [names(dataset), "" if pd.isna(low) else f"95% interval {low:+.2f} to {high:+.2f}", seeds]
    if row["outcome"] == NOT_RESOLVED:
        needed = row["seeds_needed"]
        parts.append(
            "how many seeds would resolve it is not known from one"
            if pd.isna(needed)
            else f"{seeds_needed(needed)} seeds of each would resolve it if they are equal"
        )
    return f"{gain:+.2f} DSC points ({'; '.join(part for part in parts if part)})"


def _components(table: pd.DataFrame | None, names: Callable[[str], str], note: str) -> str:
    """What text and conditional adapters add to vision adapters; the paper's remark is about BUSI."""
    if table is None:
        return "**Not run**: the study has no ablation of the components."
    rows = table.set_index("variant")
    datasets = [column.removesuffix("_outcome") for column in table.columns if column.endswith("_outcome")]
    if not {"vision", METHOD} <= set(rows.index) or rows.loc[METHOD, [f"{name}_outcome" for name in datasets]].any():
        return "**Not run**: the vision-only variant or the full method is missing, or the two are not compared."
    gaps = {name: rows.loc["vision", [f"{name}_{field}" for field in COMPARED]].set_axis(COMPARED) for name in datasets}
    gaps = {name: row for name, row in gaps.items() if not pd.isna(row["difference"])}
    if not gaps:
        return "**Not run**: the vision-only variant or the full method has no run."
    shown = "; ".join(
        f"{_OF_METHOD.get(row['outcome'], row['outcome'])}, {_gap(row, names, name)}" for name, row in gaps.items()
    )
    fact = f"with text and conditional adapters against vision adapters only: {shown}"
    if note or "busi" not in gaps:
        return _judged("Not judged, as BUSI is missing", fact, note)
    verdicts = {BETTER: "Reproduces", NOT_RESOLVED: "Not resolved"}
    verdict = verdicts.get(gaps["busi"]["outcome"], "Does not reproduce")
    return (
        f"**{verdict}**, the remark that on BUSI vision adapters alone can be better: {fact}. "
        "The paper's numbers for it are not among those in reported.csv."
    )


def _claim(
    comparison: pd.DataFrame, variant: str, names: Callable[[str], str], note: str, readings: Mapping[str, str]
) -> str:
    """The method against ``variant``: the outcome and its reading as an answer to a claim."""
    rows = _last(comparison)
    if variant not in rows.index:
        return f"**Not run**: {names(variant)} is not compared with {names(METHOD)}."
    row = rows.loc[variant]
    outcome = _OF_METHOD.get(row["outcome"], row["outcome"])
    fact = f"{names(METHOD)} minus {names(variant)} is {_gap(row, names, row['dataset'])}"
    if note:
        return _judged("", f"{outcome}: {fact}", note)
    if outcome == EQUIVALENT:
        fact += f", surely less than {row['margin']:g} apart"
    return f"**{outcome.capitalize()}{readings[outcome]}**: {fact}."


AS_GOOD = {BETTER: ", so supported", EQUIVALENT: ", so supported", WORSE: ", so contradicted", NOT_RESOLVED: ""}
DEEPER = {BETTER: ", so supported", EQUIVALENT: ", so of no consequence", WORSE: ", so contradicted", NOT_RESOLVED: ""}
"""What each outcome of the method says of a claim."""


FRONT = "Which methods reach most for the parameters that they train?"
TRANSFER = "Which methods work best on datasets that they were not trained on?"
TOGETHER = "Is one training on all datasets together as good as one on each?"
EXPLODING = "Do gradients explode where the base dimension exceeds 64, as the paper says?"
AUGMENTATION = "Does light augmentation, which the reference does without, help?"
PROMPT_TRAINING = "Is training with one type of prompt better than training with all?"
TUNING = "Does it change the ranking if all methods are tuned alike?"
TESTED = "What do averages of predictions, or a threshold tuned on validation, change?"
LEAKS = "How much of the DSC is owed to related cases on both sides of the published splits?"


def paper(
    regression: Sequence[Mapping[str, Any]],
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame,
    comparison: pd.DataFrame,
    components: pd.DataFrame | None,
    figures: Sequence[str],
    tables: Sequence[str],
    variants: Sequence[str],
    labels: Mapping[str, str],
    note: str,
    leaks: pd.DataFrame | None = None,
    outcomes: pd.DataFrame | None = None,
    joint: pd.DataFrame | None = None,
    gradient: pd.DataFrame | None = None,
    prompt_outcomes: pd.DataFrame | None = None,
    families: Mapping[str, tuple[str, str, pd.DataFrame]] = MappingProxyType({}),
    tuning: pd.DataFrame | None = None,
    method_table: pd.DataFrame | None = None,
    augmentation: pd.DataFrame | None = None,
    choices: pd.DataFrame | None = None,
) -> str:
    """The page, as Markdown with links relative to the results folder.

    Args:
        regression: rows of regression.json.
        dsc: as dsc.csv. cost: as cost.csv, by variant. reported_table: as reported.csv.
        comparison: as tables/comparison.csv (points). components: as tables/ablation_components.csv (points).
        figures: names of all figures of the study, without ending. tables: names of all its tables.
        variants: the study's, measured.
        labels: display names of variants and datasets.
        note: how the study differs from the shipped one, first of all why its numbers cannot be compared with the
            paper's, if they cannot.
        gradient, prompt_outcomes: as tables/gradients.csv and tables/prompt_outcomes.csv.
        families: title, reference and tables/ablation_{family}.csv of each ablation.
        tuning: as tables/tuned.csv (points).
        method_table: as tables/methods.csv (points).
        augmentation: as tables/augmentation.csv (points). choices: as tables/evaluation_choices.csv (points).
        leaks, joint: as tables/leaks.csv and tables/joint.csv (points). outcomes: as tables/transfer_outcomes.csv.
    """

    def names(key: str) -> str:
        """The display name of a variant or dataset, escaped for Markdown."""
        return markdown.escape(label(labels, key))

    # Other seeds than the shipped study's are told, but leave it comparable.
    provenance, note = note, note if note.startswith(NOT_THE_PAPERS) else ""
    from_paper = [row for row in regression if row["source"] == "paper"]
    from_others = [row for row in regression if row["source"] != "paper"]
    verdicts = [
        _parameters(cost, reported_table, note),
        "\n".join([_reproduction(from_paper, names, note), "", *_rows_table(from_paper, names)]),
        _reproduction(from_others, names, note),
        "\n\n".join(_claim(comparison, variant, names, note, AS_GOOD) for variant in (END_TO_END, DECODER_ONLY)),
        _pareto(dsc, cost, comparison, variants, names, note),
        _components(components, names, note),
        _claim(comparison, UNIFORM, names, note, DEEPER),
        "Not judged: no number is reported. Cases are chosen by rule (best, median and worst), not by hand.",
    ]
    verdict = _verdict(from_paper, comparison, names, note)
    lines = ["# The paper and this study", "", verdict, "", INTRODUCTION, ""]
    if provenance:
        lines += [f"> {markdown.paragraph(provenance)}", ""]
    there = [*(f"{name}.pdf" for name in figures), *(f"tables/{name}.md" for name in tables)]
    links = {file: f"[{file}]({file})" for file in there}
    for position, ((title, wanted), verdict) in enumerate(zip(SECTIONS, verdicts, strict=True), start=1):
        shown = [file for file in wanted if file in there]
        here = ", ".join(links.pop(file) for file in shown) or NOT_AVAILABLE
        lines += [f"## {position}. {title}", "", f"Here: {here}", "", verdict, ""]
        if shown and shown[0].endswith(".pdf"):
            lines += [f"![{title}]({shown[0].removesuffix('.pdf')}.png)", ""]
    lines += ["## What does not add up in the paper by itself", "", *inconsistencies(reported_table, names), ""]
    answers = [
        (title, [f"ablation_{name}.pdf", f"tables/ablation_{name}.md"], family(table, reference, names))
        for name, (title, reference, table) in families.items()
    ]
    if method_table is not None:
        answers.append((FRONT, ["methods.pdf", "tables/methods.md"], methods(method_table, names)))
    if gradient is not None:
        answers.append((EXPLODING, ["tables/gradients.md"], gradients(gradient, note)))
    if augmentation is not None:
        wanted, setting = ["augmentation.pdf", "tables/augmentation.md"], "trained with it, against without"
        answers.append((AUGMENTATION, wanted, changes(augmentation, METHOD, setting, names)))
    if prompt_outcomes is not None:
        wanted = ["prompt_matrix.pdf", "tables/prompt_matrix.md", "tables/prompt_outcomes.md"]
        answers.append((PROMPT_TRAINING, wanted, prompts(prompt_outcomes, names)))
    if outcomes is not None:
        wanted = ["transfer.pdf", "tables/transfer.md", "tables/transfer_outcomes.md"]
        answers.append((TRANSFER, wanted, transfers(outcomes, METHOD, names)))
    if joint is not None:
        setting = "trained on all datasets, against one training for each"
        answers.append((TOGETHER, ["joint.pdf", "tables/joint.md"], changes(joint, METHOD, setting, names)))
    if tuning is not None:
        wanted = ["tuning.pdf", "tables/tuned.md"]
        answers.append((TUNING, wanted, tuned(tuning, names)))
    if leaks is not None:
        setting = "on the leak-free split, whose training and test cases are others, against the published one"
        answer = changes(leaks, METHOD, setting, names) + untrained(leaks, "zero_shot", names)
        answers.append((LEAKS, ["leaks.pdf", "tables/leaks.md"], answer))
    if choices is not None:
        answers.append((TESTED, ["tables/evaluation_choices.md"], at_test_time(choices, METHOD, names)))
    if answers:
        lines += ["## Further questions", ""]
    for question, wanted, answer in answers:
        here = ", ".join(f"[{file}]({file})" for file in wanted if file in there)
        links = {file: link for file, link in links.items() if file not in wanted}
        stop = "" if question.endswith("?") else "."
        lines += [f"- **{question}{stop}** {answer} Here: {here}", ""]
    if links:
        lines += ["## Beyond the paper", "", *(f"- {link}" for link in links.values()), ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    files = ("regression", "dsc", "cost", "reported", "comparison", "components", "leaks", "outcomes", "joint")
    files += ("gradients", "prompts", "tuned", "fronts", "augmentation", "choices")
    options = parse_options(__doc__, *files, "families", "figures", "tables", "variants")
    families = {
        name: (entry["title"], entry["reference"], read_table(entry["table"], ["variant"]))
        for name, entry in options.families.items()
    }
    columns = ["dataset", "variant", "reference", "margin", "seeds", *COMPARED]
    page = paper(
        read_regression(options.regression)["rows"],
        read_dsc(options.dsc),
        read_cost(options.cost),
        read_reported(options.reported),
        read_table(options.comparison, columns),
        read_table(options.components, ["variant"]) if options.components else None,
        options.figures,
        options.tables,
        options.variants,
        options.labels,
        options.note,
        read_table(options.leaks, CHANGES) if options.leaks else None,
        read_table(options.outcomes, TRANSFERS) if options.outcomes else None,
        read_table(options.joint, CHANGES) if options.joint else None,
        read_table(options.gradients, GRADIENTS) if options.gradients else None,
        read_table(options.prompts, PROMPTS) if options.prompts else None,
        families,
        read_table(options.tuned, TUNED) if options.tuned else None,
        read_table(options.fronts, METHODS) if options.fronts else None,
        read_table(options.augmentation, CHANGES) if options.augmentation else None,
        read_table(options.choices, ["dataset", "variant"]) if options.choices else None,
    )
    write_text(options.output, page)


if __name__ == "__main__":
    run_command(main)

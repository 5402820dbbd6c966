"""paper.md: the paper's tables and figures next to this study's, each with a computed verdict on whether it reproduces.

python -m pipeline.reporting.paper --regression results/regression.json --cost results/cost.csv --dsc results/dsc.csv
    --reported reported.csv --components results/tables/ablation_components.csv
    --comparison results/tables/comparison.csv
    --variants '["telescopic", "uniform"]' --output results/paper.md
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.evaluation.aggregate import measured, reported_parameters
from pipeline.evaluation.readers import (
    AVERAGE,
    add_labels,
    add_output,
    add_variants,
    dataset_label,
    dataset_order,
    json_value,
    read_cost,
    read_dsc,
    read_reported,
    read_table,
    variant_label,
)
from pipeline.reporting.figures.pareto import front
from pipeline.reporting.markup import NOT_AVAILABLE
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError, run_command

METHOD, END_TO_END, UNIFORM = "telescopic", "end_to_end", "uniform"
CLAIMED_RATIO = 244
"""How many times fewer parameters than end-to-end fine-tuning the paper's abstract states."""
VERDICTS = ("reproduces", "differs", "not comparable", "not run")
INTRODUCTION = (
    "What the paper (arXiv 2512.13855, WACV 2026) shows, in its order as far as its text and public pages tell it, and "
    "what this study has in its place. The numbering is this page's. Each verdict is computed from the files beside it."
)


def read_regression(path: str | Path) -> list[dict[str, Any]]:
    """The rows of regression.json.

    Raises:
        PipelineError: the file is missing or broken.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
        for row in rows:
            if row["verdict"] not in VERDICTS or {"method", "variant", "dataset", "source", "reported", "value"} - set(
                row
            ):
                raise KeyError("verdict")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error!r}); run the regression again") from None
    return rows


def _because(note: str) -> str:
    """The reason that ``note`` gives, as the end of a sentence."""
    return note.removeprefix("Not comparable with the paper:").strip().rstrip(".") or "no reason is given"


def _counted(rows: Sequence[Mapping[str, Any]], note: str) -> str:
    """How many of ``rows`` reproduce, in words."""
    if not rows:
        return "Not run: the study has none of these variants."
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
    judged = counts["reproduces"] + counts["differs"]
    missing = f"; {counts['not run']} not run" if counts["not run"] else ""
    if counts["not comparable"]:
        return (
            f"**Not comparable**: {_because(note)} ({counts['not comparable']} of {len(rows)} rows measured{missing})."
        )
    if not judged:
        return f"**Not run**: none of its {len(rows)} rows."
    worst = max((row for row in rows if row["value"] is not None), key=lambda row: abs(row["value"] - row["reported"]))
    largest = (
        f"largest difference {worst['value'] - worst['reported']:+.2f} points ({worst['variant']}, "
        f"{dataset_label(worst['dataset'])})"
    )
    verdict = "Reproduces" if not counts["differs"] else "Does not reproduce" if not counts["reproduces"] else "In part"
    return f"**{verdict}**: {counts['reproduces']} of {judged} measured rows within tolerance{missing}; {largest}."


def _rows_table(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[str]:
    """Reported beside measured, row by row."""
    lines = [
        "| Variant | Dataset | Reported | Measured | Difference | Verdict |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        value = row["value"]
        shown = (NOT_AVAILABLE, NOT_AVAILABLE)
        if value is not None:
            shown = (f"{value:.2f}", f"{value - row['reported']:+.2f}")
        label = variant_label(labels, row["variant"])
        if row["method"] != row["variant"]:
            label += f" (reported as {variant_label(labels, row['method'])})"
        label = label.replace("|", "\\|")
        cells = [label, dataset_label(row["dataset"]), f"{row['reported']:.2f}", *shown, row["verdict"]]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _parameters(cost: pd.DataFrame, reported_table: pd.DataFrame, note: str) -> str:
    """Whether the method has as few parameters as the paper says."""
    if METHOD not in cost.index:
        return f"**Not run**: {METHOD} has no row in cost.csv."
    trained = int(cost.loc[METHOD, "trainable_parameters"])
    said, total = reported_parameters(reported_table, METHOD), reported_parameters(reported_table, END_TO_END)
    if not said or not total:
        raise PipelineError(f"reported.csv: trained parameters of {METHOD} and {END_TO_END} are wanted; add their rows")
    words = f"{trained:,} trained parameters against the paper's {said // 1000}k"
    if round(trained, -3) != said:
        if note:
            return f"**Not comparable**: {_because(note)} ({words})."
        return f"**Does not reproduce**: {words}."
    return (
        f"**Reproduces**: {words}; the {total // 10**6}M of end-to-end fine-tuning are {total / trained:.1f} times as "
        f"many, the paper says {CLAIMED_RATIO}."
    )


def _pareto(
    dsc: pd.DataFrame, cost: pd.DataFrame, variants: Sequence[str], labels: Mapping[str, str], note: str
) -> str:
    """Whether the method is on the front of DSC and parameters, and the best of those that leave most frozen."""
    datasets = dataset_order(dsc["dataset"])
    points = {}
    for variant in variants:
        score = measured(dsc, variant, datasets)[AVERAGE]
        if score is not None and variant in cost.index:
            points[variant] = (float(cost.loc[variant, "trainable_parameters"]), score.mean)
    if METHOD not in points:
        return f"**Not run**: {METHOD} lacks a run on some dataset."
    on_front = points[METHOD] in front(list(points.values()))
    rivals = {name: point for name, point in points.items() if name not in (METHOD, END_TO_END)}
    ahead = [variant_label(labels, name) for name, (_, value) in rivals.items() if value > points[METHOD][1]]
    fact = (
        f"{variant_label(labels, METHOD)} is {'on' if on_front else 'not on'} the measured Pareto front of "
        f"{len(points)} variants, and "
        + (f"a higher average DSC is reached by {', '.join(ahead)}" if ahead else "none but end-to-end is better")
    )
    if note:
        return f"**Not comparable**: {_because(note)}. Here, {fact}."
    return f"**{'Reproduces' if on_front and not ahead else 'Does not reproduce'}**: {fact}."


def _components(table: pd.DataFrame | None, note: str) -> str:
    """What text and conditional adapters add to vision adapters; the paper's remark is about BUSI."""
    if table is None:
        return "**Not run**: the study has no ablation of the components."
    rows = table.set_index("variant")
    columns = [column.removesuffix("_sd") for column in table.columns if column.endswith("_sd")]
    if not {"vision", METHOD} <= set(rows.index):
        return "**Not run**: vision alone or the full method is missing."
    gains = (rows.loc[METHOD, columns] - rows.loc["vision", columns]).astype(float).dropna()
    if gains.empty:
        return "**Not run**: vision alone or the full method has no run."
    words = ", ".join(f"{value:+.2f} ({dataset_label(name)})" for name, value in gains.items())
    fact = f"text and conditional adapters change DSC against vision adapters alone by {words} points"
    if note:
        return f"**Not comparable**: {_because(note)}. Here, {fact}."
    if "busi" not in gains.index:
        return f"Not judged, for want of BUSI: {fact}."
    agrees = gains["busi"] < 0
    return (
        f"**{'Reproduces' if agrees else 'Does not reproduce'}** the remark that on BUSI vision adapters alone can be "
        f"better: {fact}. The paper's numbers for it are not among those in reported.csv."
    )


def _depth(comparison: pd.DataFrame | None, labels: Mapping[str, str], note: str) -> str:
    """The claim that the depth-aware width helps, against one width at equal parameters."""
    if comparison is None:
        return "**Not run**: there is no comparison with uniform adapters."
    row = comparison[(comparison["variant"] == UNIFORM) & (comparison["reference"] == METHOD)]
    row = (
        row[row["dataset"] == (AVERAGE if (row["dataset"] == AVERAGE).any() else row["dataset"].iloc[0])]
        if len(row)
        else row
    )
    if row.empty or pd.isna(row["difference"].iloc[0]):
        return f"**Not run**: {UNIFORM} is not compared with {METHOD}."
    row = row.iloc[0]
    # The table's differences are variant less reference; the claim is about the reference.
    gain, low, high = -row["difference"], -row["difference_high"], -row["difference_low"]
    fact = (
        f"{variant_label(labels, METHOD)} less {variant_label(labels, UNIFORM)} at equal parameters is {gain:+.2f} DSC "
        f"points ({dataset_label(row['dataset'])}; 95% interval {low:+.2f} to {high:+.2f})"
    )
    if note:
        return f"**Not comparable**: {_because(note)}. Here, {fact}."
    if low > 0:
        return f"**Supported**: {fact}."
    return f"**{'Contradicted' if high < 0 else 'Not shown'}**: {fact}."


def paper(
    regression: Sequence[Mapping[str, Any]],
    dsc: pd.DataFrame,
    cost: pd.DataFrame,
    reported_table: pd.DataFrame,
    variants: Sequence[str],
    labels: Mapping[str, str],
    components: pd.DataFrame | None = None,
    comparison: pd.DataFrame | None = None,
    figures: Sequence[str] = (),
    tables: Sequence[str] = (),
    note: str = "",
) -> str:
    """The page, as Markdown with links relative to the results folder.

    Args:
        regression: rows of regression.json.
        dsc: as dsc.csv. cost: as cost.csv, by variant. reported_table: as reported.csv.
        components: as tables/ablation_components.csv (points). comparison: as tables/comparison.csv (points).
        figures: names of all figures of the study, without ending. tables: names of all its tables.
        note: why numbers cannot be compared with the paper's; empty where they can.
    """
    own = [row for row in regression if row["source"] == "paper"]
    borrowed = [row for row in regression if row["source"] != "paper"]
    lines = ["# The paper and this study", "", INTRODUCTION, ""]
    if note:
        lines += [f"> {note}", ""]

    shown: set[str] = set()

    def section(title: str, figures_of: Sequence[str], tables_of: Sequence[str], verdict: str, *body: str) -> None:
        number = sum(line.startswith("## ") for line in lines) + 1
        pictures = [name for name in figures_of if name in figures]
        links = [f"[{name}.pdf]({name}.pdf)" for name in pictures]
        links += [f"[tables/{name}.md](tables/{name}.md)" for name in tables_of if name in tables]
        shown.update(links)
        lines.extend([f"## {number}. {title}", "", f"Here: {', '.join(links) or NOT_AVAILABLE}", "", verdict, ""])
        lines.extend([*body, ""] if body else [])
        lines.extend(line for name in pictures[:1] for line in (f"![{title}]({name}.png)", ""))

    section(
        "Figure: the framework and its widths by layer",
        ["width_schedule"],
        [],
        _parameters(cost, reported_table, note),
    )
    section(
        "Table: comparison with other methods",
        [],
        ["main", "efficiency"],
        _counted(own, note),
        *_rows_table(own, labels),
    )
    section(
        "The same table's baselines by dataset, from the VLSM-Adapter and MedVLSM papers",
        [],
        ["regression"],
        _counted(borrowed, note),
    )
    section(
        "Figure: performance against trained parameters",
        ["pareto"],
        [],
        _pareto(dsc, cost, variants, labels, note),
    )
    section(
        "Table: ablation of the components",
        ["ablation_components"],
        ["ablation_components"],
        _components(components, note),
    )
    section(
        "Claim: deeper layers need more capacity (the paper has no uniform baseline at equal parameters)",
        ["ablation_depth"],
        ["ablation_depth", "comparison"],
        _depth(comparison, labels, note),
    )
    section(
        "Figure: segmented examples",
        ["qualitative", "failures"],
        [],
        "Not judged: pictures have no number. Here cases are chosen by rule (best, median and worst), not by hand.",
    )
    more = [f"[{name}.pdf]({name}.pdf)" for name in figures]
    more += [f"[tables/{name}.md](tables/{name}.md)" for name in tables]
    more = [f"- {link}" for link in more if link not in shown]
    if more:
        lines.extend(["## Beyond the paper", "", *more, ""])
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regression", required=True, help="regression.json")
    parser.add_argument("--dsc", required=True, help="dsc.csv")
    parser.add_argument("--cost", required=True, help="cost.csv")
    parser.add_argument("--reported", required=True, help="reported.csv")
    parser.add_argument("--components", help="tables/ablation_components.csv")
    parser.add_argument("--comparison", help="tables/comparison.csv")
    parser.add_argument(
        "--figures", type=json_value("--figures", list), default=[], help="JSON list: figures that the page links to"
    )
    parser.add_argument(
        "--tables", type=json_value("--tables", list), default=[], help="JSON list: tables that the page links to"
    )
    add_variants(parser)
    add_labels(parser)
    add_output(parser, "a Markdown file in the results folder")
    arguments = parser.parse_args()
    columns = ["dataset", "variant", "reference", "difference", "difference_low", "difference_high"]
    page = paper(
        read_regression(arguments.regression),
        read_dsc(arguments.dsc),
        read_cost(arguments.cost),
        read_reported(arguments.reported),
        arguments.variants,
        arguments.labels,
        read_table(arguments.components, ["variant"]) if arguments.components else None,
        read_table(arguments.comparison, columns) if arguments.comparison else None,
        arguments.figures,
        arguments.tables,
        arguments.note,
    )
    write_text(arguments.output, page)


if __name__ == "__main__":
    run_command(main)

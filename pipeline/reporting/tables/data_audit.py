"""The data audit as a table (CSV) and as text (Markdown): records, duplicates and leaks of all datasets."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from pipeline.data.audit import Finding, audit_dataset, split_order
from pipeline.data.fingerprints import HASH_DISTANCE, SAME_SCENE, SIMILARITY, THUMBNAIL
from pipeline.data.leak_free import TOLERANCE
from pipeline.data.sources import SPLITS
from pipeline.reporting import markdown
from pipeline.reporting.options import label, parse_options
from pipeline.runtime.atomic import write_csv, write_text
from pipeline.runtime.errors import run_command

LISTED = 12
"""Cases that the text names in one line; the CSV has all."""
COLUMNS = ["dataset", "finding", "splits", "value", "cases"]
REPEATED = ("listed_more_than_once", "identical_pairs", "near_duplicate_pairs")
DETAILS = {
    "missing": "missing",
    "left_out": "left out of the split",
    "grey_images": "grey images",
    "listed_more_than_once": "listed more than once",
    "identical_pairs": "identical",
    "identical_pairs_that_contradict": "identical with different masks or classes",
    "near_duplicate_pairs": "near duplicates",
    "moved": "moved from the former split to the latter",
}
REPEATED_TEXT = (
    "*Listed more than once*: the split lists have the case twice, within a split or in two. *Identical*: two cases "
    f"with the same pixels. *Near duplicates*: perceptual hashes within {HASH_DISTANCE} of 64 bits, confirmed by a "
    f"correlation of at least {SIMILARITY} of their {THUMBNAIL} x {THUMBNAIL} pixels after subtracting the mean of all "
    "other images. A pair counts once for each combination of splits to which its cases belong."
)
FRAMES_TEXT = (
    "Frames whose predecessor or successor in the video is in train and shows the same scene (correlation of at least "
    f"{SAME_SCENE}, as above)."
)
LEAK_FREE_TEXT = (
    "Related cases (of one patient or video sequence, identical, near duplicates, or successive frames of one scene) "
    "are in one split. As many test cases as possible stay in test, and each split keeps its size within "
    f"{TOLERANCE:.0%}. Across: pairs of identical images or near duplicates in two splits, and frames of val and test "
    "with a neighbour of the same scene in train, that are left."
)


def to_frame(findings: Iterable[Finding]) -> pd.DataFrame:
    """One row per finding; cases are separated by "; "."""
    rows = [(row.dataset, row.finding, row.splits, f"{row.value:g}", "; ".join(row.cases)) for row in findings]
    return pd.DataFrame(rows, columns=COLUMNS)


def _first(cases: Sequence[str]) -> str:
    more = f", and {len(cases) - LISTED} more" if len(cases) > LISTED else ""
    return markdown.escape(", ".join(cases[:LISTED]) + more)


def to_markdown(datasets: Sequence[str], findings: Sequence[Finding], note: str, labels: Mapping[str, str]) -> str:
    """The audit as text; datasets in the order of ``datasets``, under their names in ``labels``."""
    titles = {dataset: markdown.escape(label(labels, dataset)) for dataset in datasets}
    values = {(row.dataset, row.finding, row.splits): f"{row.value:g}" for row in findings}

    def cells(dataset: str, splits: str, names: Iterable[str]) -> list[str]:
        return [values.get((dataset, name, splits), "0") for name in names]

    def share(dataset: str, split: str) -> str:
        names = [f"foreground_percent_{name}" for name in ("p5", "median", "p95")]
        low, median, high = cells(dataset, split, names)
        return f"{median} ({low} to {high})"

    counts = ("records_listed", "missing", "left_out", "records_used", "empty_masks")
    text = ["# Data audit", "", *([f"**{markdown.escape(note)}**", ""] if note else [])]
    text += ["## Records", ""]
    text += ["Foreground: median share of the image (5th to 95th percentile), without empty masks.", ""]
    text += markdown.table(
        ["dataset", "split", "listed", "missing", "left out", "used", "empty masks", "foreground, %"],
        [
            [titles[dataset], split, *cells(dataset, split, counts), share(dataset, split)]
            for dataset in datasets
            for split in SPLITS
        ],
        "ll" + "r" * 6,
    )
    text += ["", "## Cases that appear more than once", "", REPEATED_TEXT, ""]
    places = sorted({row.splits for row in findings if row.finding in REPEATED}, key=split_order)
    text += markdown.table(
        ["dataset", "splits", "listed more than once", "identical pairs", "near-duplicate pairs"],
        [
            [titles[dataset], splits, *row]
            for dataset in datasets
            for splits in places
            if set(row := cells(dataset, splits, REPEATED)) != {"0"}
        ],
        "llrrr",
    )
    frames = [row for row in findings if row.finding == "frames_with_a_train_neighbour"]
    if frames:
        text += ["", "## Video frames", "", FRAMES_TEXT, ""]
        text += markdown.table(
            ["dataset", "split", "frames", "of"],
            [[titles[r.dataset], r.splits, f"{r.value:g}", *cells(r.dataset, r.splits, counts[3:4])] for r in frames],
            "llrr",
        )
    separated = [
        dataset for dataset in datasets if any(r.dataset == dataset and r.finding == "stayed" for r in findings)
    ]
    if separated:

        def total(dataset: str, names: Sequence[str], across: bool = False) -> str:
            rows = [row for row in findings if row.dataset == dataset and row.finding in names]
            return f"{sum(row.value for row in rows if '-' in row.splits or not across):g}"

        text += ["", "## Leak-free splits", "", LEAK_FREE_TEXT, ""]
        text += markdown.table(
            ["dataset", "groups of related cases", "moved", "stay in test", "of", "pairs across", "frames across"],
            [
                [
                    titles[dataset],
                    *(total(dataset, [name]) for name in ("related", "moved", "stayed")),
                    *cells(dataset, "test", counts[3:4]),
                    total(dataset, REPEATED[1:], across=True),
                    total(dataset, ["frames_with_a_train_neighbour"]),
                ]
                for dataset in separated
            ],
            "lrrrrrr",
        )
    lines = [
        f"- {titles[dataset]}, {row.splits}, {title} ({row.value:g}): {_first(row.cases)}"
        for dataset in datasets
        for name, title in DETAILS.items()
        for row in findings
        if (row.dataset, row.finding) == (dataset, name)
    ]
    if lines:
        text += ["", "## Cases by name", "", "The CSV beside this file has all of them.", "", *lines]
    return "\n".join(text) + "\n"


def main() -> None:
    options = parse_options(__doc__, "results", "datasets")
    folder = options.results / "datasets"
    findings = [finding for dataset in options.datasets for finding in audit_dataset(dataset, folder / dataset)]
    write_csv(f"{options.output}.csv", to_frame(findings))
    write_text(f"{options.output}.md", to_markdown(options.datasets, findings, options.note, options.labels))


if __name__ == "__main__":
    run_command(main)

"""Print the main table to the terminal, and where tables and figures are.

python -m pipeline.reporting.show --results results/demo
"""

import argparse
import csv
from pathlib import Path

from pipeline.reporting.formats import NOT_AVAILABLE
from pipeline.reporting.markdown import unescape
from pipeline.reporting.tables.scores import PROMPT_HEADER
from pipeline.runtime.errors import PipelineError, run_command


def _score(row: dict[str, str], column: str) -> str:
    if row[column] == NOT_AVAILABLE:
        return NOT_AVAILABLE
    spread = row[f"{column}_sd"]
    return f"{float(row[column]):.1f}" + (f" ± {float(spread):.1f}" if spread != NOT_AVAILABLE else "")


def show(results: str | Path) -> str:
    """The main table's measured rows as plain text, then the paths of tables and figures.

    Args:
        results: folder with ``tables/main.csv`` and ``tables/main.md``.

    Raises:
        PipelineError: the main table is missing or broken.
    """
    results = Path(results)
    path = results / "tables" / "main.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["reported_only"] == "False"]
        lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
        notes = [unescape(line.removeprefix("> ")) for line in lines if line.startswith("> ")]
        header = next(line for line in lines if line.startswith("| "))
        titles = [unescape(cell) for cell in header.removeprefix("| ").removesuffix(" |").split(" | ")]
        titles = [title for title in titles if title != PROMPT_HEADER]
        columns = [name.removesuffix("_sd") for name in rows[0] if name.endswith("_sd")]
        columns = [name for name in columns if not name.endswith("_prompt")]
        cells = [[row["label"], *(_score(row, column) for column in columns)] for row in rows]
        table = [["DSC, %", *titles[1:]], *cells]
        if len(titles) != len(cells[0]):
            raise ValueError(f"{len(columns)} columns, but main.md has {len(titles) - 1}")
    except (OSError, KeyError, IndexError, StopIteration, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read as the main table ({error!r}); run its rule again") from None
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    lines = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in table
    ]
    lines.insert(1, "-" * len(lines[0]))
    figures = sorted(figure.stem for figure in results.glob("*.pdf"))
    lines += ["", *notes, *([""] if notes else [])]
    lines.append(f"Tables:  {results / 'tables'}/ (.csv, .md, .tex)")
    lines.append(f"Figures: {results}/ (.pdf, .png): {', '.join(figures) or 'none yet'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True, help="folder of the results")
    arguments = parser.parse_args()
    print(show(arguments.results))


if __name__ == "__main__":
    run_command(main)

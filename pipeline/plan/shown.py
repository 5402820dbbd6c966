"""A figure, a table, and the page of a text, as steps with their place in Snakemake's report."""

from collections.abc import Iterator, Sequence

from pipeline.plan.sources import Sources
from pipeline.plan.steps import Entry, Source, Step

# The report sorts its categories by name.
PAPER, TABLE, FIGURE, ABLATION, DATA = "1 Paper", "2 Tables", "3 Figures", "4 Ablations", "5 Data"

MOST_IN_A_FIGURE = 2
"""Changed settings, and seeds, that the note of a figure names."""


def figure(plan: Sources, name: str, shown: str | Entry, source: Source, module: str | None = None) -> Step:
    """A figure; ``shown`` is its place in the report, or its label among the figures."""
    stem = f"{plan.study.results}/{name}"
    outputs = {kind: f"{stem}.{kind}" for kind in ("pdf", "png")}
    entry = Entry(FIGURE, {"figure": shown}, name) if isinstance(shown, str) else shown
    source |= Source(options={"note": plan.note(MOST_IN_A_FIGURE)})
    return Step(f"figure_{name}", f"pipeline.reporting.figures.{module or name}", source, outputs, stem, entry)


def table(
    plan: Sources,
    name: str,
    shown: str | Entry,
    source: Source,
    module: str | None = None,
    kinds: Sequence[str] = ("csv", "md", "tex"),
    on_request: bool = False,
) -> Iterator[Step]:
    """A table and its page; ``shown`` is the page's place in the report, or its label among the tables."""
    stem, place = f"{plan.study.results}/tables/{name}", f"pipeline.reporting.tables.{module or name}"
    outputs = {kind: f"{stem}.{kind}" for kind in kinds}
    yield Step(f"table_{name}", place, source, outputs, stem, on_request=on_request)
    entry = Entry(TABLE, {"table": shown}, f"page_{name}") if isinstance(shown, str) else shown
    yield page(plan, f"tables/{name}", entry, Source(), on_request)


def page(plan: Sources, name: str, entry: Entry, pictures: Source, on_request: bool = False) -> Step:
    """A browser shows Markdown as it is typed: what the report has of tables and texts are pages made of it."""
    html, rule = f"{plan.study.results}/pages/{name}.html", f"page_{name.removeprefix('tables/')}"
    source = plan.file(markdown=f"{name}.md") | pictures
    return Step(rule, "pipeline.reporting.page", source, {"html": html}, html, entry, on_request)

"""Tables: cells against hand-computed values, marks, sources, what was not run, Markdown and LaTeX."""

import pandas as pd
import pytest
from evaluation_support import write_run
from reporting_support import DATASETS, LABELS, REPORTED, VARIANTS, run_main, write_cost, write_dsc, write_runs

from pipeline.evaluation.aggregate import measured, reported, reported_parameters
from pipeline.evaluation.readers import read_dsc, read_reported
from pipeline.reporting import show
from pipeline.reporting.markup import Cell, Table, escape, latex, markdown, ranks
from pipeline.reporting.show import show as show_results
from pipeline.reporting.tables import scores as tables
from pipeline.reporting.tables.scores import ablation_table, efficiency_table, main_table, stars
from pipeline.runtime.errors import PipelineError


def _dsc(*rows):
    return pd.DataFrame(rows, columns=["dataset", "variant", "seed", "dsc"])


DSC = _dsc(
    ("busi", "telescopic", 41, 0.60),
    ("busi", "telescopic", 42, 0.64),
    ("busi", "telescopic", 43, 0.68),
    ("isic16", "telescopic", 41, 0.90),
    ("isic16", "telescopic", 42, 0.91),
    ("isic16", "telescopic", 43, 0.92),
    ("busi", "uniform", 41, 0.64),
    ("isic16", "uniform", 41, 0.91),
    ("busi", "end_to_end", 41, 0.50),
)
SMALL = ["telescopic", "uniform", "end_to_end"]


@pytest.fixture(scope="module")
def facts():
    return read_reported(REPORTED)


def _rows(table):
    return dict(table.rows)


def test_measured_means_and_deviations():
    scores = measured(DSC, "telescopic", ["isic16", "busi"])
    assert scores["busi"].mean == pytest.approx(64) and scores["busi"].sd == pytest.approx(4)
    # The average within each seed: 75, 77.5, 80.
    assert scores["average"].mean == pytest.approx(77.5) and scores["average"].sd == pytest.approx(2.5)
    assert scores["average"].seeds == 3


def test_one_seed_has_no_deviation_and_a_missing_dataset_no_average():
    assert measured(DSC, "uniform", ["isic16", "busi"])["busi"] == (64.0, None, 1)
    scores = measured(DSC, "end_to_end", ["isic16", "busi"])
    assert scores["isic16"] is None and scores["average"] is None


def test_reported_takes_the_paper_first(facts):
    assert reported(facts, "telescopic", "busi") == (65.90, "paper")
    assert reported(facts, "end_to_end", "average") == (83.33, "paper")
    assert reported(facts, "end_to_end", "busi") == (62.91, "vlsm-adapter")
    assert reported(facts, "end_to_end", "busi", "hd95") == (72.98, "vlsm-adapter")
    only_medvlsm = facts[facts["source"] == "medvlsm"]
    assert reported(only_medvlsm, "end_to_end", "busi") == (64.32, "medvlsm")
    assert reported(facts, "uniform", "busi") is None
    assert reported_parameters(facts, "vlsm_dense") == 3_200_000


def test_main_table_cells(facts):
    frame, table = main_table(DSC, facts, SMALL, ["isic16", "busi"], LABELS, "Demo.")
    row = frame.set_index("variant").loc["telescopic"]
    assert row["busi"] == 64.0 and row["busi_sd"] == 4.0 and row["busi_seeds"] == 3
    assert row["busi_reported"] == 65.90 and row["busi_source"] == "paper"
    assert row["average"] == 77.5 and row["average_sd"] == 2.5 and row["average_reported"] == 85.58
    assert list(table.header) == ["Method", "ISIC 2016", "BUSI", "Average"]
    cells = _rows(table)
    assert cells["Telescopic Adapters"][1] == Cell("64.00", "4.00", "best", "", "65.90", "a")
    # 64.00 and 64.00 share the mark; the next distinct value is second.
    assert cells["Uniform adapters"][1] == Cell("64.00", None, "best")
    assert cells["CLIPSeg, end-to-end"][1] == Cell("50.00", None, "second", "", "62.91", "b")
    assert cells["CRIS (reported only)"][1] == Cell("n/a", None, None, "", "67.50", "b")
    assert table.note == "Demo."


def test_what_was_not_run_is_na_and_never_zero(facts, tmp_path):
    frame, table = main_table(DSC, facts, [*SMALL, "lora"], ["isic16", "busi"], LABELS)
    assert _rows(table)["CLIPSeg, end-to-end"][0].value == "n/a"
    assert [cell.value for cell in _rows(table)["LoRA"]] == ["n/a"] * 3
    tables.write(frame, table, tmp_path / "main")
    raw = pd.read_csv(tmp_path / "main.csv", keep_default_na=False, dtype=str).set_index("variant")
    assert raw.loc["lora", "average"] == "n/a" and raw.loc["end_to_end", "isic16"] == "n/a"
    assert raw.loc["lora", "average_seeds"] == "0"
    assert pd.isna(pd.read_csv(tmp_path / "main.csv").set_index("variant").loc["lora", "average"])
    assert "0.00" not in (tmp_path / "main.md").read_text().replace("50.00", "").replace("64.00", "")


def test_reported_end_to_end_is_explained_where_it_stands(facts):
    _, table = main_table(DSC, facts, SMALL, ["isic16", "busi"], LABELS)
    assert any("decoder alone" in footnote for footnote in table.footnotes)
    assert any("(a)" in footnote and "(b)" in footnote for footnote in table.footnotes)
    _, table = main_table(DSC, facts, ["telescopic"], ["busi"], LABELS)
    assert not any("decoder alone" in footnote for footnote in table.footnotes)
    assert list(table.header) == ["Method", "BUSI"]


def test_significance_marks_are_explained_only_where_there_are_any(facts):
    comparison = pd.DataFrame(
        {
            "dataset": ["busi", "busi", "isic16"],
            "variant": ["uniform", "telescopic", "uniform"],
            "reference": "telescopic",
            "p_holm": [0.004, None, 0.2],
        }
    )
    _, table = main_table(DSC, facts, SMALL, ["isic16", "busi"], LABELS, comparison=comparison)
    cells = _rows(table)["Uniform adapters"]
    assert (cells[0].stars, cells[1].stars) == ("", "**")
    assert any("Holm" in footnote and "Telescopic Adapters" in footnote for footnote in table.footnotes)
    _, table = main_table(DSC, facts, SMALL, ["isic16", "busi"], LABELS, comparison=comparison[2:])
    assert not any("Holm" in footnote for footnote in table.footnotes)


@pytest.mark.parametrize(
    ("p", "mark"), [(0.0009, "***"), (0.001, "**"), (0.0499, "*"), (0.05, ""), (None, ""), (float("nan"), "")]
)
def test_stars(p, mark):
    assert stars(p) == mark


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([85.581, 85.584, 80.0, None], ["best", "best", "second", None]),
        ([1.0, 2.0, 2.0, 3.0], [None, "second", "second", "best"]),
        ([2.0, 2.0], [None, None]),
        ([None, None], [None, None]),
        ([5.0], [None]),
    ],
)
def test_ranks_mark_ties_alike(values, expected):
    assert ranks(values, 2) == expected


def test_ranks_of_costs_prefer_small():
    assert ranks([3.0, 1.0, 2.0], 2, largest=False) == [None, "best", "second"]


def test_efficiency_table_cells(facts, tmp_path):
    cost = pd.DataFrame(
        {
            "trainable_parameters": [613_297, 0],
            "trainable_percent": [0.4068, 0.0],
            "inference_gmacs": [42.0, 41.86],
            "training_gflops": [180.0, 90.0],
        },
        index=pd.Index(["telescopic", "zero_shot"], name="variant"),
    )
    dsc = pd.concat([DSC, _dsc(("busi", "zero_shot", 41, 0.2), ("isic16", "zero_shot", 41, 0.3))])
    frame, table = efficiency_table(
        dsc, cost, facts, ["zero_shot", "telescopic", "uniform"], ["isic16", "busi"], LABELS
    )
    row = frame.set_index("variant").loc["telescopic"]
    assert row["dsc_per_million"] == pytest.approx(77.5 / 0.613297, abs=1e-6)
    assert row["dsc_per_million_reported"] == pytest.approx(85.58 / 0.613, abs=1e-6)
    cells = _rows(table)
    assert cells["Telescopic Adapters"][0] == Cell("613,297", reported="613,000", source="a")
    # Nothing is trained: neither a training cost nor points per parameter.
    assert [cells["CLIPSeg (zero-shot)"][at].value for at in (0, 3, 5)] == ["0", "n/a", "n/a"]
    assert cells["CLIPSeg (zero-shot)"][2].rank == "best"
    assert cells["Uniform adapters"][0].value == "n/a"
    tables.write(frame, table, tmp_path / "efficiency")
    assert "613297" in (tmp_path / "efficiency.csv").read_text()


def test_ablation_table_differences():
    frame, table = ablation_table(DSC, SMALL, ["isic16", "busi"], "telescopic", "Depth", LABELS, "ablation_depth")
    assert frame.set_index("variant")["difference"].tolist()[:2] == [0.0, 0.0]
    cells = _rows(table)
    assert cells["Telescopic Adapters"][-1].value == "reference"
    assert cells["Uniform adapters"][-1].value == "+0.00"
    assert cells["CLIPSeg, end-to-end"][-1].value == "n/a"
    _, single = ablation_table(DSC, SMALL, ["busi"], "telescopic", "Depth", LABELS, "ablation_depth")
    assert _rows(single)["CLIPSeg, end-to-end"][-1].value == "-14.00"
    with pytest.raises(PipelineError, match="is not among the variants"):
        ablation_table(DSC, SMALL, ["busi"], "lora", "Depth", LABELS, "ablation_depth")


TABLE = Table(
    title="DSC (%)",
    header=["Method", "A_1"],
    rows=[
        ("50% & more", [Cell("91.20", "0.30", "best", "**", "90.00", "a")]),
        ("x|y", [Cell("90.00", rank="second")]),
        ("z", [Cell()]),
    ],
    footnotes=["Mean ± sd.", "*: p < 0.05."],
    note="Demo: 1 < 2.",
    label="test",
    rules=frozenset({2}),
)


def test_markdown_is_exactly_this():
    assert markdown(TABLE) == (
        "**DSC (%)**\n\n> Demo: 1 < 2.\n\n"
        "| Method | A_1 |\n| --- | ---: |\n"
        "| 50% & more | **91.20** ± 0.30<sup>\\*\\*</sup> [90.00<sup>a</sup>] |\n"
        "| x\\|y | <u>90.00</u> |\n"
        "| z | n/a |\n\nMean ± sd.\n\n\\*: p < 0.05.\n"
    )


def test_latex_is_exactly_this():
    assert latex(TABLE) == (
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}\n"
        "\\begin{table*}\n  \\centering\n"
        "  \\caption{DSC (\\%). Mean $\\pm$ sd. *: p $<$ 0.05. Demo: 1 $<$ 2.}\n  \\label{tab:test}\n"
        "  \\resizebox{\\textwidth}{!}{%\n  \\begin{tabular}{lr}\n    \\toprule\n"
        "    Method & A\\_1 \\\\\n    \\midrule\n"
        "    50\\% \\& more & \\textbf{91.20}\\,$\\pm$\\,0.30$^{**}$ [90.00$^{\\mathrm{a}}$] \\\\\n"
        "    x|y & \\underline{90.00} \\\\\n    \\midrule\n"
        "    z & n/a \\\\\n    \\bottomrule\n  \\end{tabular}}\n\\end{table*}\n"
    )


def test_latex_escapes_what_would_break_a_document():
    assert escape("a_b 5% $x$ {y} \\z α ≥ 1") == (r"a\_b 5\% \$x\$ \{y\} \textbackslash{}z $\alpha$ $\geq$ 1")


def test_command_line_writes_the_same_bytes_twice(tmp_path):
    folders = write_runs(tmp_path, DATASETS[:2], VARIANTS[-2:], [41, 42], cases=6)
    dsc, cost = write_dsc(tmp_path, folders), write_cost(tmp_path)
    shared = ["--dsc", dsc, "--variants", VARIANTS[-2:], "--datasets", DATASETS[:2], "--labels", LABELS]
    shared += ["--note", "Demo."]
    for name, extra in (
        ("main", ["--reported", REPORTED]),
        ("efficiency", ["--reported", REPORTED, "--cost", cost]),
        ("ablation", ["--reference", "telescopic", "--cost", cost, "--title", "Depth"]),
    ):
        written = []
        for attempt in ("first", "second"):
            output = tmp_path / attempt / name
            run_main(tables, name, *shared, *extra, "--output", output)
            written.append([output.with_name(f"{name}.{end}").read_bytes() for end in ("csv", "md", "tex")])
        assert written[0] == written[1]
        assert b"> Demo." in written[0][1] and b"Demo.}" in written[0][2]


def test_an_ablation_is_tested_within_its_family(tmp_path):
    level = [0.5 + 0.01 * index for index in range(12)]
    runs = [
        write_run(tmp_path, "busi", "telescopic", 41, level),
        # Lower in each case: the smallest p of 12 pairs, 2 / 2**12, is doubled by Holm for a family of two.
        write_run(tmp_path, "busi", "uniform", 41, [value - 0.1 - value / 50 for value in level]),
        write_run(tmp_path, "busi", "lora", 41, [value + (-1) ** index / 100 for index, value in enumerate(level)]),
    ]
    folders = [str(run.folder) for run in runs]
    options = ["--dsc", write_dsc(tmp_path, folders), "--datasets", ["busi"], "--reference", "telescopic"]
    options += ["--variants", ["telescopic", "uniform", "lora"], "--output", tmp_path / "ablation_depth"]
    run_main(tables, "ablation", *options, "--runs", folders)
    rows = [line for line in (tmp_path / "ablation_depth.md").read_text().splitlines() if line.startswith("| ")]
    assert ["<sup>" in row for row in rows[-3:]] == [False, True, False]
    assert r"44.39</u><sup>\*\*\*</sup>" in rows[-2]
    assert "differs from telescopic with p < 0.05" in (tmp_path / "ablation_depth.md").read_text()
    run_main(tables, "ablation", *options)
    assert "differs from" not in (tmp_path / "ablation_depth.md").read_text()


def test_command_line_names_what_is_missing(tmp_path):
    dsc = write_dsc(tmp_path, write_runs(tmp_path, ["busi"], ["telescopic"], [41], cases=3))
    options = ["--dsc", dsc, "--variants", ["telescopic"], "--datasets", ["busi"], "--output", tmp_path / "t"]
    with pytest.raises(PipelineError, match="--reported is missing"):
        run_main(tables, "main", *options)
    with pytest.raises(PipelineError, match="--variants: not valid JSON"):
        run_main(tables, "main", "--dsc", dsc, "--variants", "[", "--datasets", ["busi"], "--output", tmp_path / "t")
    (tmp_path / "broken.csv").write_text("dataset,variant,seed\nbusi,telescopic,41\n")
    with pytest.raises(PipelineError, match=r"broken.csv: column dsc is missing"):
        read_dsc(tmp_path / "broken.csv")
    (tmp_path / "twice.csv").write_text("dataset,variant,seed,dsc\nbusi,x,41,0.5\nbusi,x,41,0.6\n")
    with pytest.raises(PipelineError, match="busi/x/seed41 stands there twice"):
        read_dsc(tmp_path / "twice.csv")
    with pytest.raises(PipelineError, match="no such file"):
        read_dsc(tmp_path / "absent.csv")


def test_show_prints_the_measured_rows_and_where_things_are(tmp_path, facts, capsys):
    frame, table = main_table(DSC, facts, SMALL, ["isic16", "busi"], LABELS, "Not comparable.")
    (tmp_path / "tables").mkdir()
    tables.write(frame, table, tmp_path / "tables" / "main")
    (tmp_path / "pareto.pdf").write_bytes(b"")
    run_main(show, "--results", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["DSC,", "%", "ISIC16", "BUSI", "Average"]
    assert lines[2].split("  ")[0] == "Telescopic Adapters" and "64.0 ± 4.0" in lines[2]
    assert lines[4].endswith("n/a") and "CRIS" not in "".join(lines)
    assert "Not comparable." in lines and lines[-1].endswith("pareto") and str(tmp_path) in lines[-1]
    with pytest.raises(PipelineError, match="main table"):
        show_results(tmp_path / "nowhere")


@pytest.mark.parametrize(("values", "decimals"), [([41.86, 72.0], 2), ([0.0989, 0.12, None], 4), ([0.0], 2), ([], 2)])
def test_small_costs_keep_three_digits(values, decimals):
    assert tables._decimals(pd.Series(values, dtype=float)) == decimals

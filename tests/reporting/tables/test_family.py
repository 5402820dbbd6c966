"""The table of a family of variants: differences, and tests within the family."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main, write_cost

from pipeline.evaluation import compare_methods
from pipeline.reporting.tables import family
from pipeline.reporting.tables.scores import Scores
from pipeline.runtime.errors import PipelineError

VARIANTS = ["telescopic", "uniform", "end_to_end"]


def test_cells(dsc, labels):
    cost = pd.DataFrame({"trainable_parameters": [613_297]}, index=["telescopic"])
    cases = pd.concat([dsc.assign(case=case) for case in ("a", "b")])

    def build(datasets, reference="telescopic"):
        comparison = compare_methods(cases[cases["dataset"].isin(datasets)], "telescopic", 1.5)
        return family.build(Scores(dsc, VARIANTS, datasets), cost, comparison, reference, 1.5, "Depth", labels)

    frame, table = build(["isic16", "busi"])
    frame = frame.set_index("variant")
    # One seed is shared: 64 against 60 on BUSI, 91 against 90 on ISIC.
    assert frame.loc["uniform", ["busi_difference", "average_difference"]].tolist() == pytest.approx([4, 2.5])
    assert frame.loc["uniform", "busi_outcome"] == "not resolved" and pd.isna(frame.loc["telescopic", "busi_outcome"])
    assert table.title == "Depth: DSC (%)"
    assert list(table.header[-3:]) == ["Difference [95% CI]", "Outcome", "Seeds needed"]
    cells = {name: [cell.value for cell in row] for name, row in table.rows}
    assert [cells["Telescopic Adapters"][at] for at in (0, -3)] == ["613,297", "reference"]
    assert [cells["Uniform adapters"][at] for at in (0, -3, -2, -1)] == ["n/a", "+2.50", "not resolved", "n/a"]
    assert cells["CLIPSeg, end-to-end"][-3:] == ["n/a"] * 3  # not run on ISIC
    _, single = build(["busi"])
    assert dict(single.rows)["CLIPSeg, end-to-end"][-3].value == "-10.00"
    with pytest.raises(PipelineError, match="is not among the variants"):
        build(["busi"], "lora")


def test_variants_are_compared_within_the_family(tmp_path):
    level = [0.5 + 0.01 * index for index in range(12)]
    gains = {"telescopic": [0, 0, 0], "uniform": [-0.1, -0.101, -0.102], "lora": [0.002, -0.003, 0.001]}
    runs = [
        write_run(tmp_path, "busi", variant, seed, [value + gain + 0.01 * (seed - 41) for value in level])
        for variant, shifts in gains.items()
        for seed, gain in enumerate(shifts, start=41)
    ]
    dsc = write_dsc_of(tmp_path, runs)
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--cost", write_cost(tmp_path)]
    options += ["--reference", "telescopic", "--margin", 1.0, "--title", "Depth: widths", "--datasets", ["busi"]]
    options += ["--variants", ["telescopic", "uniform", "lora"], "--labels", {"telescopic": "Ours"}]
    run_main(family, *options, "--note", "Demo.", "--output", tmp_path / "ablation_depth")
    printed = (tmp_path / "ablation_depth.md").read_text()
    rows = [line for line in printed.splitlines() if line.startswith("| ")][-3:]
    assert ["<sup>−</sup>" in row for row in rows] == [False, True, False]
    assert "<sup>=</sup>" in rows[2] and "| +0.00 [-0.66, +0.66] | equivalent |" in rows[2]
    assert "| -10.10 [-10.35, -9.85] | worse |" in rows[1]
    assert "Against Ours: + better" in printed and "Made from 9 runs (1 dataset, 3 variants" in printed
    latex = (tmp_path / "ablation_depth.tex").read_text()
    assert r"\label{tab:ablation_depth}" in latex and r"\textsuperscript{$-$}" in latex

"""The table of a family of variants: differences, and tests within the family."""

import pandas as pd
import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main, write_cost

from pipeline.reporting.tables import family
from pipeline.reporting.tables.scores import Scores
from pipeline.runtime.errors import PipelineError

VARIANTS = ["telescopic", "uniform", "end_to_end"]


def test_differences(dsc, labels):
    cost = pd.DataFrame({"trainable_parameters": [613_297]}, index=["telescopic"])
    tests = pd.DataFrame(columns=["dataset", "variant", "p_holm"])

    def build(datasets, reference="telescopic"):
        return family.build(Scores(dsc, VARIANTS, datasets), cost, tests, reference, "Depth", labels)

    frame, table = build(["isic16", "busi"])
    assert frame.set_index("variant")["difference"].tolist()[:2] == [0.0, 0.0]
    assert table.title == "Depth: DSC (%)"
    cells = dict(table.rows)
    assert [cells["Telescopic Adapters"][at].value for at in (0, -1)] == ["613,297", "reference"]
    assert [cells["Uniform adapters"][at].value for at in (0, -1)] == ["n/a", "+0.00"]
    assert cells["CLIPSeg, end-to-end"][-1].value == "n/a"
    _, single = build(["busi"])
    assert dict(single.rows)["CLIPSeg, end-to-end"][-1].value == "-14.00"
    with pytest.raises(PipelineError, match="is not among the variants"):
        build(["busi"], "lora")


def test_variants_are_tested_within_the_family(tmp_path):
    level = [0.5 + 0.01 * index for index in range(12)]
    runs = [
        write_run(tmp_path, "busi", "telescopic", 41, level),
        # Lower in each case: the smallest p of 12 pairs, 2 / 2**12, is doubled by Holm for a family of two.
        write_run(tmp_path, "busi", "uniform", 41, [value - 0.1 - value / 50 for value in level]),
        write_run(tmp_path, "busi", "lora", 41, [value + (-1) ** index / 100 for index, value in enumerate(level)]),
    ]
    dsc = write_dsc_of(tmp_path, runs)
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--cost", write_cost(tmp_path)]
    options += ["--reference", "telescopic", "--title", "Depth: widths", "--datasets", ["busi"]]
    options += ["--variants", ["telescopic", "uniform", "lora"], "--labels", {"telescopic": "Ours"}]
    run_main(family, *options, "--note", "Demo.", "--output", tmp_path / "ablation_depth")
    printed = (tmp_path / "ablation_depth.md").read_text()
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert ["<sup>" in row for row in rows[-3:]] == [False, True, False]
    assert r"44.39</u><sup>\*\*\*</sup>" in rows[-2]
    assert "differs from Ours with p < 0.05" in printed and "Made from 3 runs (1 dataset, 3 variants" in printed
    assert r"\label{tab:ablation_depth}" in (tmp_path / "ablation_depth.tex").read_text()

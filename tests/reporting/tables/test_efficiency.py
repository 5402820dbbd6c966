"""Table ``efficiency``: costs and what they buy, against hand-computed values."""

import json

import pandas as pd
from evaluation_support import write_dsc_of, write_run
from reporting_support import REPORTED, run_main, write_cost, write_speed

from pipeline.evaluation.readers import read_speed
from pipeline.reporting.markup import Cell
from pipeline.reporting.tables import efficiency
from pipeline.reporting.tables.scores import Scores


def test_cells(tmp_path, dsc, facts, labels):
    cost = pd.DataFrame(
        {
            "trainable_parameters": [613_297, 0],
            "trainable_percent": [0.4068, 0.0],
            # The smallest shows three significant digits.
            "inference_gmacs": [0.12, 0.0989],
            "training_gflops": [180.0, 90.0],
        },
        index=pd.Index(["telescopic", "zero_shot"], name="variant"),
    )
    zero_shot = pd.DataFrame({"dataset": ["busi", "isic16"], "variant": "zero_shot", "seed": 41, "dsc": [0.2, 0.3]})
    variants = ["zero_shot", "telescopic", "uniform", "lora"]
    scores = Scores(pd.concat([dsc, zero_shot]), variants, ["isic16", "busi"], facts)
    speed = read_speed(write_speed(tmp_path, variants, peak=700.0))
    by_run = pd.DataFrame(
        {"weights_mb": [2.5, 0.0004], "energy_kj": [31.25, 2.0]},
        index=pd.Index(["telescopic", "zero_shot"], name="variant"),
    )
    frame, table = efficiency.build(scores, cost, speed, by_run, facts, labels)
    row = frame.set_index("variant").loc["lora"]
    assert (row["images_per_second_32"], row["images_per_second_32_merged"]) == (32 * 5.0, 32 * 6.0)
    cells = dict(table.rows)
    telescopic, zero = cells["Telescopic Adapters"], cells["CLIPSeg (zero-shot)"]
    assert len(telescopic) == len(table.header) - 1
    assert telescopic[0] == Cell("613,297", reported="613,000", source="a")
    assert telescopic[3] == Cell("0.1200", rank="second")
    assert telescopic[4].value == "180.00"
    assert telescopic[5] == Cell("31.25")
    assert telescopic[6].value == "11.00" and cells["LoRA"][6] == Cell("13.00 (14.00)")
    assert telescopic[8].value == "22400"
    # Nothing is trained: neither operations nor energy.
    assert [zero[at].value for at in (0, 2, 4, 5)] == ["0", "0.00", "n/a", "n/a"]
    assert zero[3] == Cell("0.0989", rank="best")
    assert [cells["Uniform adapters"][at].value for at in (0, 2, 5)] == ["n/a"] * 3
    assert cells["CRIS (reported only)"][0].value == "n/a"
    assert any("inference on A processor, fp32" in note for note in table.footnotes)


def test_means_over_runs(tmp_path):
    runs = [write_run(tmp_path, "busi", "telescopic", seed, [0.5]) for seed in (41, 42, 43)]
    for run, energy in zip(runs, (1000.0, 3000.0, None), strict=True):
        path = run.folder / "manifest.json"
        measured = {"weights_bytes": 2_500_000, "energy_joules": energy}
        path.write_text(json.dumps(json.loads(path.read_text()) | measured))
    # The third was resumed; a run of an earlier version has neither.
    runs.append(write_run(tmp_path, "busi", "uniform", 41, [0.5]))
    table = efficiency.read_run_costs(runs)
    assert table.loc["telescopic"].tolist() == [2.5, 2.0]
    assert table.loc["uniform"].isna().all()


def test_command_line(tmp_path):
    dsc = write_dsc_of(tmp_path, [write_run(tmp_path, "busi", "telescopic", 41, [0.5, 0.7])])
    options = ["--results", tmp_path, "--runs", dsc, "--dsc", dsc, "--cost", write_cost(tmp_path)]
    options += [
        "--speed",
        write_speed(tmp_path),
        "--reported",
        REPORTED,
        "--variants",
        ["telescopic"],
        "--datasets",
        ["busi"],
    ]
    run_main(efficiency, *options, "--labels", {"busi": "Ultrasound"}, "--output", tmp_path / "efficiency")
    printed = (tmp_path / "efficiency.md").read_text()
    assert "**Cost and DSC (%, Ultrasound), measured [reported]**" in printed
    row = next(line for line in printed.splitlines() if line.startswith("| telescopic "))
    # A CPU tells neither energy nor a variant's memory.
    assert row.split(" | ")[1:] == [
        "613,297 [613,000<sup>a</sup>]", "0.406", "n/a", "41.98", "180.00", "—", "17.00", "288.00", "—",
        "60.00 [65.90<sup>a</sup>] |",
    ]  # fmt: skip
    assert "Made from 1 run " in printed and "613297" in (tmp_path / "efficiency.csv").read_text()

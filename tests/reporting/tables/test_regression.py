"""The table of reported and measured DSC."""

import json

import pytest
from evaluation_support import write_dsc_of, write_run
from reporting_support import run_main

from pipeline.reporting.tables import regression
from pipeline.reporting.tables.regression import read_regression
from pipeline.runtime.errors import PipelineError

ROW = {"method": "telescopic", "variant": "telescopic", "dataset": "busi", "source": "paper", "reported": 65.9}
ROW |= {"value": 65.934, "difference": 0.034, "tolerance": 1.2, "must_reproduce": True, "verdict": "reproduces"}
ROW |= {"seeds": 3, "p_holm": 0.91, "reason": ""}
NOT_RUN = dict.fromkeys(("value", "difference", "tolerance", "p_holm")) | {
    "must_reproduce": False,
    "verdict": "not run",
}
NOT_RUN |= {"seeds": 0}
OVERALL = ROW | dict.fromkeys(("reported", "value", "difference", "tolerance")) | {"dataset": "overall"}
LABELS = {"busi": "BUSI", "telescopic": "Ours", "decoder_only": "Decoder"}
PAPER = "Telescopic Adapters"
BASELINE = ROW | {"method": "end_to_end", "variant": "decoder_only"} | NOT_RUN


def _write(path, rows):
    path.write_text(json.dumps({"rows": rows, "resolution": 0.9, "n_theirs": 1}))
    return path


def test_command_line(tmp_path):
    dsc = write_dsc_of(tmp_path, [write_run(tmp_path, "busi", "telescopic", seed, [0.5, 0.7]) for seed in (41, 42)])
    options = ["--results", tmp_path, "--runs", dsc, "--labels", LABELS, "--note", "A note."]
    for rows, explained in (
        ([ROW, OVERALL], False),
        ([ROW, OVERALL, BASELINE, ROW | {"method": "san", "variant": "san"} | NOT_RUN], True),
    ):
        path = _write(tmp_path / "regression.json", rows)
        run_main(regression, *options, "--regression", path, "--output", tmp_path / "tables/regression")
        printed = (tmp_path / "tables/regression.md").read_text()
        expected = f"| Ours | Ours | BUSI | {PAPER} | 65.90 | 65.93 | +0.03 | 1.20 | 3 | 0.9100 | reproduces |"
        assert expected in printed.splitlines()
        whole = (
            f"| Ours | Ours | Overall | {PAPER} | n/a | n/a | n/a | n/a | 3 | 0.9100 | reproduces (must reproduce) |"
        )
        assert whole in printed.splitlines()
        empty = f"BUSI | {PAPER} | 65.90 | n/a | n/a | n/a | 0 | n/a |"
        assert (f"| end_to_end | Decoder | {empty} not run |" in printed) == explained
        assert (f"| SAN | SAN | {empty} reported only |" in printed) == explained
        assert ("compared with both variants" in printed) == explained
        assert (
            "> A note." in printed
            and "Made from 2 runs" in printed
            and "above 0.9 points for an average (1.8 for a dataset)" in printed
        )
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["regression.md"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"rows": [{"verdict": "not run"}]}', json.dumps({"rows": [ROW | {"verdict": "pass"}]})]
)
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "regression.json").write_text(content)
    with pytest.raises(PipelineError, match=r"regression.json: cannot be read"):
        read_regression(tmp_path / "regression.json")

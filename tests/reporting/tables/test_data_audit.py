"""The data audit as CSV and Markdown."""

import csv
import json

import data_support
from data_support import standardised, verified

from pipeline.data.audit import Finding
from pipeline.reporting.tables import data_audit
from pipeline.reporting.tables.data_audit import to_frame, to_markdown

FINDINGS = [
    Finding("kvasir_seg", "records_listed", "train", 8),
    Finding("kvasir_seg", "records_used", "train", 7),
    Finding("kvasir_seg", "missing", "train", 1, ("cju3",)),
    Finding("kvasir_seg", "identical_pairs", "train-test", 2, ("a = b", "c = d")),
    Finding("kvasir_seg", "near_duplicate_pairs", "train", 13, tuple(f"a{index} = b" for index in range(13))),
    Finding("kvasir_seg", "foreground_percent_p5", "train", 1.5),
    Finding("kvasir_seg", "foreground_percent_median", "train", 10.25),
    Finding("kvasir_seg", "foreground_percent_p95", "train", 40),
]
LABELS = {"kvasir_seg": "Kvasir-SEG", "clinicdb": "CVC-ClinicDB"}


def test_the_csv_has_all_cases():
    rows = to_frame(FINDINGS).to_dict("records")
    assert rows[3] == {
        "dataset": "kvasir_seg", "finding": "identical_pairs", "splits": "train-test", "value": "2",
        "cases": "a = b; c = d",
    }  # fmt: skip
    assert [row["value"] for row in rows] == ["8", "7", "1", "2", "13", "1.5", "10.25", "40"]
    assert rows[4]["cases"].count("=") == 13


def test_the_text():
    text = to_markdown(["kvasir_seg"], FINDINGS, "Demo: phantoms", LABELS)
    assert "**Demo: phantoms**" in text
    assert "| Kvasir-SEG | train | 8 | 1 | 0 | 7 | 0 | 10.25 (1.5 to 40) |" in text
    assert "| Kvasir-SEG | train | 0 | 0 | 13 |\n| Kvasir-SEG | train-test | 0 | 2 | 0 |" in text
    assert "- Kvasir-SEG, train-test, identical (2): a = b, c = d\n" in text
    assert "a11 = b, and 1 more" in text
    assert "Video" not in text
    assert "| kvasir_seg | train | 8 |" in to_markdown(["kvasir_seg"], FINDINGS, "", {})


def test_names_of_cases_and_datasets_are_shown_as_text():
    findings = [Finding("busi", "identical_pairs", "train", 1, ("<img src=x> = *b*",))]
    text = to_markdown(["busi"], findings, "A *note*", {"busi": "B|U"})
    assert r"**A \*note\***" in text and r"| B\|U | train | 0 | 1 | 0 |" in text
    assert r"- B\|U, train, identical (1): \<img src=x> = \*b\*" in text


def test_video_frames_have_a_table_of_their_own():
    findings = [
        Finding("clinicdb", "records_used", "test", 2),
        Finding("clinicdb", "frames_with_a_train_neighbour", "test", 1, ("2",)),
    ]
    assert "## Video frames" in (text := to_markdown(["clinicdb"], findings, "", LABELS))
    assert "| CVC-ClinicDB | test | 1 | 2 |" in text


def test_the_command_line(tmp_path, monkeypatch):
    for name in ("kvasir_seg", "busi"):
        made = data_support.MAKERS[name]()
        standardised(made, tmp_path)
        verified(made, tmp_path)
    options = ["--datasets", '["kvasir_seg", "busi"]', "--results", str(tmp_path), "--labels", json.dumps(LABELS)]
    output = ["--note", "Phantoms", "--output", str(tmp_path / "audit")]
    monkeypatch.setattr("sys.argv", ["x", *options, *output])
    data_audit.main()
    rows = list(csv.DictReader((tmp_path / "audit.csv").open()))
    used = [row for row in rows if row["finding"] == "records_used"]
    assert [(row["splits"], row["value"]) for row in used] == [("train", "3"), ("val", "1"), ("test", "1")] * 2
    text = (tmp_path / "audit.md").read_text()
    assert "Phantoms" in text and "| Kvasir-SEG | train | 3 |" in text

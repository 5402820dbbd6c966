"""Rendering a finished study's tables again: whatever was forged is found, rounding is not."""

import re
import shutil
from pathlib import Path

import pytest

from pipeline.config import read_study
from pipeline.plan import Plan
from pipeline.runtime.errors import PipelineError
from pipeline.verify import TEXT, difference, verify

pytestmark = pytest.mark.slow


@pytest.fixture
def study(small_study, tmp_path, monkeypatch) -> Plan:
    """A copy of the finished small study, whose folder is the working directory."""
    folder = tmp_path / "repository"
    shutil.copytree(small_study.finished, folder)
    monkeypatch.chdir(folder)
    return Plan(read_study("config.yaml", "small.yaml"))


def problems(plan: Plan, scratch: Path) -> dict[str, str]:
    return {path: problem for path, problem in verify(plan, scratch) if problem}


def texts(plan: Plan) -> list[str]:
    steps = [step for step in plan.steps.values() if not step.on_request]
    return [path for step in steps for kind, path in step.outputs.items() if kind in TEXT]


def forge(path: str) -> None:
    """Change a digit of the first decimal number."""
    text = Path(path).read_text()
    match = re.search(r"(?<![\w.])\d+\.(\d)\d*", text)
    digit = "7" if match[1] != "7" else "3"
    Path(path).write_text(text[: match.start(1)] + digit + text[match.end(1) :])


def test_an_honest_study_agrees(study, tmp_path):
    found = list(verify(study, tmp_path / "scratch"))
    assert {path for path, _ in found} == set(texts(study))
    assert not [problem for _, problem in found if problem]


def test_every_forged_file_is_found(study, tmp_path):
    for path in texts(study):
        forge(path)
    found = problems(study, tmp_path / "scratch")
    assert set(found) == set(texts(study))
    assert "the per-case scores give" in found["results/small/tables/main.csv"]


def test_forged_scores_move_every_table_that_is_made_of_them(study, tmp_path):
    forge("results/small/runs/busi/telescopic/seed41/per_case.csv")
    found = problems(study, tmp_path / "scratch")
    assert {f"results/small/{name}" for name in ("dsc.csv", "tables/main.md", "tables/comparison.csv")} <= set(found)
    assert "results/small/tables/data_audit.csv" not in found


def test_missing_files_are_named(study, tmp_path):
    Path("results/small/tables/main.tex").unlink()
    Path("results/small/runs/busi/uniform/seed41/per_case.csv").unlink()
    found = problems(study, tmp_path / "scratch")
    assert "cannot be read" in found["results/small/tables/main.tex"]
    assert "uniform/seed41/per_case.csv" in found["results/small/ablations/depth.csv"]


def test_the_command_fails_if_a_file_differs(study, monkeypatch, capsys):
    from pipeline.verify import main

    monkeypatch.setattr("sys.argv", ["verify", "config.yaml", "small.yaml"])
    main()
    assert "files agree" in capsys.readouterr().out
    forge("results/small/tables/main.csv")
    with pytest.raises(PipelineError, match="1 of "):
        main()
    assert "DIFFERS  results/small/tables/main.csv: line" in capsys.readouterr().out


def test_rounding_is_no_difference():
    assert difference("a,0.12345678901234\n", "a,0.12345678901235\n") is None
    assert difference("a,0.1234\n", "a,0.1235\n").startswith("line 1")
    assert "has 1 lines" in difference("a\n", "a\nb\n")
    assert difference("seed 1.5 of x\n", "seed 1.5 of y\n")

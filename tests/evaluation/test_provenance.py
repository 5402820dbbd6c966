"""The sentences below a table that say what it was made from."""

import json
import re

import pytest
from evaluation_support import write_run

from pipeline.evaluation.provenance import describe_runs
from pipeline.runtime.errors import PipelineError


def _code(text: str) -> str:
    return re.search(r"training code ([0-9a-f]{12})", text)[1]


def _change(run, **values: object) -> None:
    path = run.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def runs(tmp_path) -> list:
    kinds = {"lora": "lora", "uniform": "telescopic", "telescopic": "telescopic"}
    return [write_run(tmp_path, "busi", name, seed, [0.5], kind=kinds[name]) for name in kinds for seed in (41, 42)]


def test_provenance_names_scores_code_and_data(runs):
    text = describe_runs(runs)
    assert re.fullmatch(
        r"Made from 6 runs \(1 dataset, 3 variants, 2 seeds\)\. SHA-256, first 12 digits: "
        r"per-case scores [0-9a-f]{12}; training code [0-9a-f]{12}; backbone busi-backbon; data of busi busi-data-00\.",
        text,
    )
    assert describe_runs(runs[::-1]) == text
    scores = runs[0].folder / "per_case.csv"
    scores.write_text(scores.read_text().replace(",90", ",91"))
    changed = describe_runs(runs)
    assert changed != text and _code(changed) == _code(text)
    _change(runs[0], data_sha256="1" * 64)
    assert describe_runs(runs).endswith("data of busi 111111111111 and busi-data-00.")


def test_scores_from_other_folders(runs, tmp_path):
    for value in "01":
        (tmp_path / value).mkdir()
        (tmp_path / value / "per_prompt.csv").write_text(value)
    texts = {describe_runs(runs, lambda run, value=value: [tmp_path / value / "per_prompt.csv"]) for value in "01"}
    assert len(texts | {describe_runs(runs)}) == 3
    with pytest.raises(PipelineError, match=r"absent: cannot be read"):
        describe_runs(runs, lambda run: [tmp_path / "absent"])


def test_one_hash_of_the_training_code_of_several_kinds(runs):
    before = describe_runs(runs)
    # Each kind has its own code; the hash depends on each of them and not on how many runs there are.
    for run in runs[:2]:
        _change(run, code_sha256="1" * 64)
    kinds = describe_runs(runs)
    assert _code(kinds) != _code(before) and "versions" not in kinds
    assert _code(describe_runs(runs[1:])) == _code(kinds)
    _change(runs[2], code_sha256="2" * 64)
    assert "(2 versions of telescopic)" in describe_runs(runs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError"),
        ('{"configuration": null}', "TypeError"),
        ('{"configuration": {"variant": {"kind": "lora"}}}', "code_sha256"),
    ],
)
def test_a_manifest_that_does_not_say_enough(runs, content, message):
    (runs[0].folder / "manifest.json").write_text(content)
    with pytest.raises(PipelineError, match=f"manifest.json: no usable manifest .*{message}.*train the run again"):
        describe_runs(runs)

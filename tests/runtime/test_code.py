"""The code behind a result: which modules count, and which changes to them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.code import ROOT, digest, module_files

TRAIN = "pipeline.training.train"
PROGRAM = "import sys; from pipeline.runtime.code import digest; print(*map(digest, sys.argv[1:]))"


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package in another place, whose modules a test may edit."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "elsewhere/pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "elsewhere"


def digests(root: Path, *modules: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, *modules]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split()


def edit(root: Path, path: str, before: str, after: str) -> None:
    file = root / path
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def test_a_step_depends_on_what_it_imports_and_on_nothing_else():
    files = {path.relative_to(ROOT).as_posix() for path in module_files(TRAIN, "pipeline.models.kinds.lora")}
    assert {"pipeline/training/loop.py", "pipeline/models/segmenter.py", "pipeline/models/kinds/lora.py"} <= files
    assert "pipeline/models/kinds/vlsm.py" not in files
    rooms = {path.split("/")[1] for path in files}
    assert not rooms & {"evaluation", "reporting", "demo", "fetching", "cost", "runtime", "config.py", "plan"}


def test_an_unknown_module_is_refused():
    with pytest.raises(ValueError, match=r"no module pipeline\.training\.nothing"):
        digest("pipeline.training.nothing")


def test_place_comments_docstrings_and_layout_do_not_count(copy):
    before = digest(TRAIN)
    edit(copy, "pipeline/training/loss.py", '"""', '"""Reworded: ')
    edit(copy, "pipeline/training/loss.py", "\nimport torch\n", "\n# A comment.\nimport \\\n    torch\n")
    assert digests(copy, TRAIN) == [before]


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("pipeline/training/loop.py", "import torch\n", "import torch\n\nEXTRA = 1\n"),
        ("pipeline/data/tensors.py", "import numpy as np\n", "import numpy as np\n\nEXTRA = 1\n"),
    ],
)
def test_code_counts_wherever_it_is_imported_from(copy, path, before, after):
    edit(copy, path, before, after)
    assert digests(copy, TRAIN) != [digest(TRAIN)]


def test_a_kind_counts_for_its_own_runs_only(copy):
    kinds = ("pipeline.models.kinds.lora", "pipeline.models.kinds.telescopic")
    program = f"from pipeline.runtime.code import digest; print(*(digest({TRAIN!r}, kind) for kind in {kinds!r}))"
    edit(copy, "pipeline/models/kinds/lora.py", ", Field\n", ", Field\n\nEXTRA = 1\n")
    result = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True, check=True)
    lora, telescopic = result.stdout.split()
    assert lora != digest(TRAIN, kinds[0])
    assert telescopic == digest(TRAIN, kinds[1])

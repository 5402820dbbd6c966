"""What a command line reports: one line for what a user can act on, a traceback for a bug."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def report(body: str, before: str = "") -> tuple[int, str]:
    """Exit status and errors of a command whose main is ``body``, after ``before`` in a shell."""
    imports = "from pathlib import Path\nfrom pipeline.runtime.errors import *"
    code = f"{imports}\ndef main():\n    {body}\nrun_command(main)\n"
    command = ["sh", "-c", f'{before} exec "$@"', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise PipelineError('a.csv: no rows')", "a.csv: no rows"),
        ("open('/absent')", "/absent: no such file or folder; run the step that makes it, or correct the path"),
        ("open('/etc/passwd/x')", "/etc/passwd/x: a file stands where a folder belongs; move it away"),
        ("os.rename('/absent', '/other')", "/absent -> /other: no such file or folder; run the step"),
        ("raise NotADirectoryError(errno.ENOTDIR, '', Path('a/b'))", "a/b: a file stands where a folder belongs"),
        ("bytearray(2**50)", "memory ran out; give the rule more: --set-resources RULE:mem_mb=MIB"),
    ],
)
def test_what_a_user_can_act_on_is_one_line(body, line):
    status, errors = report(body)
    assert status == 1
    assert errors.startswith(f"error: {line}")
    assert errors.count("\n") == 1


def test_no_temporary_folder():
    # No file may have a byte, so that no folder will do.
    status, errors = report("import tempfile; tempfile.mkdtemp()", before="ulimit -f 0;")
    assert (status, errors) == (1, "error: no temporary folder can be written to; let TMPDIR name one that can\n")


def test_a_bug_is_a_traceback():
    status, errors = report("{}['key']")
    assert status == 1
    assert errors.endswith("KeyError: 'key'\n")
    assert "Traceback" in errors


def test_a_reader_that_has_enough():
    command = "from pipeline.runtime.errors import run_command; run_command(lambda: print('line\\n' * 100_000))"
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{command}" | head -1'], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("line\n", "")

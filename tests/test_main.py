"""python -m pipeline COMMAND."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from evaluation_support import call

from pipeline.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


def test_every_command_has_help_of_its_own_name(capsys):
    for command, (module, _) in COMMANDS.items():
        assert callable(importlib.import_module(module).main)
        with pytest.raises(SystemExit, match="0"):
            call(main, command, "--help")
        assert capsys.readouterr().out.startswith(f"usage: python -m pipeline {command} ")


def test_a_mistyped_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        call(main, "predikt")
    assert "invalid choice: 'predikt'" in capsys.readouterr().err


def test_the_list_of_commands_needs_no_torch():
    check = "import sys, pipeline.__main__ as m; sys.argv[1:] = ['--help']\ntry: m.main()\nexcept SystemExit: pass\n"
    check += "assert 'torch' not in sys.modules and 'snakemake' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(purpose in done.stdout for _, purpose in COMMANDS.values())

"""The same seed gives the same scores, bit for bit: on any number of cores, after whatever the process did before."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from pipeline.runtime.errors import PipelineError
from pipeline.training.determinism import precision_on

ROOT = Path(__file__).parents[2]
# Trains and scores the named variants one after another in one process, on as many cores as it is told.
PROGRAM = """
import os, sys
from pathlib import Path
cores, tensors, backbone, output, *variants = sys.argv[1:]
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
from pipeline.evaluation import score_run
from pipeline.training.settings import TrainingSettings
from pipeline.training.train import train_run
settings = TrainingSettings(batch_size=4, max_epochs=2, learning_rate=3e-3)
for variant in variants:
    run = Path(output) / variant
    train_run(Path(tensors), Path(backbone), {"kind": variant}, settings, 41, 2, run / "state", run, variant)
    sys.argv = ["score_run", "--tensors", tensors, "--backbone", backbone, "--weights", f"{run}/weights.safetensors"]
    sys.argv += ["--threads", "2", "--output", f"{run}/per_case.csv"]
    score_run.main()
"""


def test_bf16_needs_a_device_that_has_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    for offered in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: offered)  # noqa: B023
        assert [precision_on("cuda", name) for name in ("fp16", "fp32")] == ["fp16", "fp32"]
        if offered:
            assert precision_on("cuda", "bf16") == "bf16"
    with pytest.raises(PipelineError, match=r"training\.precision: Tesla T4 has no bfloat16; set fp16 or fp32"):
        precision_on("cuda", "bf16")


@pytest.mark.parametrize(
    ("level", "instructions", "expected"),
    [
        ("AVX512", {"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ("AVX512", {"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ("AVX512", {"avx512_bf16": False, "amx_bf16": False}, "fp32"),
        # jobs.portable
        ("DEFAULT", {"avx512_bf16": True, "amx_bf16": True}, "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_if_it_can_and_is_told_to(monkeypatch, capsys, level, instructions, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: level)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert [precision_on("cpu", name) for name in ("fp16", "fp32")] == ["fp32", "fp32"]
    assert not capsys.readouterr().err
    assert precision_on("cpu", "bf16") == expected
    assert ("bf16 needs AVX512-BF16 or AMX" in capsys.readouterr().err) == (expected == "fp32")


@pytest.mark.slow
def test_scores_depend_neither_on_cores_nor_on_the_order_of_jobs(prepared, tmp_path):
    variants = ["telescopic", "decoder_only"]
    for name, cores, order in (("one", 1, variants), ("two", 2, variants[::-1])):
        command = [sys.executable, "-c", PROGRAM, str(cores), *map(str, prepared), str(tmp_path / name), *order]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    for variant in variants:
        one, two = tmp_path / "one" / variant, tmp_path / "two" / variant
        for file in ("weights.safetensors", "per_case.csv"):
            assert (one / file).read_bytes() == (two / file).read_bytes(), f"{variant}: {file}"
        history = [
            pd.read_csv(run / "history.csv").drop(columns=["seconds", "images_per_second"]) for run in (one, two)
        ]
        pd.testing.assert_frame_equal(*history, check_exact=True)
        assert len(history[0]) == 2
    assert (tmp_path / "one/telescopic/per_case.csv").read_bytes() != (
        tmp_path / "one/decoder_only/per_case.csv"
    ).read_bytes()

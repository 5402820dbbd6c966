"""What is checked of a study before its first job."""

import json
import subprocess
import sys

import pytest
import yaml
from workflow_support import ROOT, SMALL

from pipeline import check
from pipeline.check import check_before_jobs, check_variants, check_widths
from pipeline.config import read_study
from pipeline.models.kinds import VariantSettings, kinds, register
from pipeline.plan import Plan
from pipeline.runtime.errors import PipelineError

DEMO = (ROOT / "config.yaml", ROOT / "workflow/config/demo.yaml")


@pytest.fixture
def broken(monkeypatch):
    """Kinds that anyone could have written."""
    monkeypatch.setattr("pipeline.models.kinds._KINDS", dict(kinds()))

    @register("nowhere")
    class Nowhere(VariantSettings):
        kind: str = "nowhere"

        def attach(self, segmenter):
            import torch

            segmenter.add_adapter("vision_11_mlp", torch.nn.Identity())

    @register("wrong_size")
    class WrongSize(VariantSettings):
        kind: str = "wrong_size"

        def attach(self, segmenter):
            import torch

            segmenter.add_adapter("vision_3_mlp", torch.nn.Linear(5, 5))

    @register("idle")
    class Idle(VariantSettings):
        kind: str = "idle"

        def attach(self, segmenter):
            segmenter.clipseg.clip.logit_scale.requires_grad_(True)

    @register("bug")
    class Bug(VariantSettings):
        kind: str = "bug"

        def attach(self, segmenter):
            raise KeyError("hidden")

    return {name: {"kind": name} for name in ("nowhere", "wrong_size", "idle", "bug")}


@pytest.mark.parametrize("backbone", ["tiny", "full"])
def test_every_variant_that_cannot_be_trained_is_named_with_its_reason(broken, backbone):
    with pytest.raises(PipelineError) as error:
        check_variants(broken | {"zero_shot": {"kind": "zero_shot"}, "idle_too": {"kind": "idle"}}, backbone)
    count, *lines = str(error.value).splitlines()
    assert count.startswith("5 of the study's variants")
    named = {name: line for name in (*broken, "idle_too") for line in lines if f"variants.{name}: " in line}
    assert "no place 'vision_11_mlp' that influences the mask" in named["nowhere"]
    assert "RuntimeError" in named["wrong_size"]
    assert "does not depend on what is trained: clipseg.clip.logit_scale" in named["idle"]
    assert "KeyError('hidden')" in named["bug"]


def test_widths_that_the_backbone_does_not_build_are_refused():
    study = read_study(*DEMO)
    check_widths(Plan(study))
    wide = study.variants["base_256"]
    with pytest.raises(PipelineError, match=r"telescopic: width .* 128 in vision_9_mlp \(vision: at most 32\)"):
        check_widths(Plan(study.model_copy(update={"variants": study.variants | {"telescopic": wide}})))


def test_what_passed_is_not_checked_again(tmp_path, monkeypatch):
    study = read_study(*DEMO).model_copy(update={"results": str(tmp_path)})
    calls = []

    def run(command, **options):
        calls.append(json.loads(options["input"])[0])
        return subprocess.CompletedProcess(command, 1 if len(calls) == 2 else 0, "", "error: because")

    monkeypatch.setattr(check.subprocess, "run", run)
    check_before_jobs(Plan(study))
    check_before_jobs(Plan(study))
    assert len(calls) == 1 and calls[0]["lora"]["rank"] == 9
    changed = study.model_copy(update={"variants": study.variants | {"lora": study.variants["telescopic"]}})
    with pytest.raises(PipelineError, match="because"):
        check_before_jobs(Plan(changed))
    check_before_jobs(Plan(changed))
    assert len(calls) == 3


def test_the_command_line(tmp_path, monkeypatch, capsys):
    study = (
        yaml.safe_load(DEMO[0].read_text())
        | SMALL
        | {"ablations": {}, "joint": None, "leaks": None, "transfer": None, "tuning": None}
    )
    study["variants"]["telescopic"]["text_width"] = 17
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "pipeline", "check", str(path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("error: 1 of the study's variants cannot be built\n  variants.telescopic: width 17")
    del study["variants"]["telescopic"]["text_width"]
    path.write_text(yaml.safe_dump(study))
    monkeypatch.setattr("sys.argv", command[3:])
    check.main()
    assert capsys.readouterr().out.startswith("valid: 1 datasets, ")

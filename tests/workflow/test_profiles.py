"""The profiles: each is read, plans the study, and names rules that exist."""

import re

import pytest
import yaml
from workflow_support import ROOT, planned, snakemake

from pipeline.config import read_study
from pipeline.plan import Plan

PROFILES = ROOT / "workflow" / "profiles"


def rules() -> set[str]:
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    return set(re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(path.name for path in PROFILES.iterdir()))
def test_a_profile_plans_the_study(name):
    profile = f"workflow/profiles/{name}"
    result = snakemake(ROOT, "results/dsc.csv", "--dry-run", "--nolock", "--quiet", "rules", "--profile", profile)
    assert result.returncode == 0, result.stderr[-2000:]
    plan = Plan(read_study(ROOT / "config.yaml"))
    assert planned(result.stdout)["train"] == len(plan.trainings(plan.main)) > 100
    settings = yaml.safe_load((PROFILES / name / "config.yaml").read_text())
    assert {*settings.get("set-resources", {}), *settings.get("groups", {})} <= rules()
    assert {*settings.get("group-components", {})} <= {*settings.get("groups", {}).values()}


def test_the_default_profile_is_read_without_being_named():
    """No other profile has its settings, since it wins."""
    result = snakemake(ROOT, "results/cost.csv", "--dry-run", "--nolock")
    assert "workflow specific profile profiles/default" in result.stderr
    default = yaml.safe_load((PROFILES / "default" / "config.yaml").read_text())
    assert default == {"rerun-incomplete": True, "show-failed-logs": True, "quiet": ["rules"]}
    for path in PROFILES.glob("*/config.yaml"):
        assert path.parent.name == "default" or not default.keys() & yaml.safe_load(path.read_text()).keys()


def test_a_cluster_is_told_how_many_gpus_jobs_may_have(tmp_path):
    """Else those of the login node would count, which has none, and everything would train on CPUs."""
    profile = ("--profile", "workflow/profiles/slurm", "--nolock", "--dry-run", "--quiet", "rules")
    told = snakemake(ROOT, "results/dsc.csv", *profile, "--config", "jobs={gpus: 0}")
    assert told.returncode == 0, told.stderr[-2000:]
    settings = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    assert settings["config"] == ["jobs={gpus: 16}"]

"""Models from where they lie: runs, variants, moved folders."""

from pathlib import Path

import pytest
from model_support import linked, save_tiny, trained_start
from scoring_support import RUN

from pipeline.inference.models import find_backbone, find_runs, load_checkpoint, load_runs
from pipeline.models.backbone import load_backbone
from pipeline.models.weights import save_weights
from pipeline.runtime.errors import PipelineError


def test_a_run_and_a_variant(study):
    assert find_runs(str(study.results / RUN)) == [study.results / RUN]
    assert find_runs(str((study.results / RUN).parent)) == [study.results / RUN]
    assert find_runs(str(study.results / RUN / "weights.safetensors")) == [study.results / RUN]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("results/runs/busi/lora/seed42", "results/runs/busi/lora/seed42"),
        ("results/runs/busi/lora", "results/runs/busi/lora/seed41"),
        ("lora", "results/runs/DATASET/VARIANT/seed41"),
    ],
)
def test_where_no_run_is_a_command_is_named(source, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = f"snakemake {target}/weights.safetensors --cores 2"
    with pytest.raises(PipelineError, match=f"^{source}: no trained run here. To train one: {command}"):
        find_runs(source)


def test_a_datasets_folder_is_no_run(study):
    with pytest.raises(PipelineError, match="busi: holds runs of telescopic; name one of them"):
        find_runs(str((study.results / RUN).parents[1]))


def test_the_backbone_that_fits_is_found(study, tmp_path, monkeypatch):
    own, run = study.results / "backbone", study.results / RUN
    assert find_backbone(run).samefile(own)
    moved = linked(run, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"no CLIPSeg here; name the folder of the one .* by --backbone"):
        find_backbone(moved)
    other = save_tiny(tmp_path / "other")
    for given, message in ((other, r"trained on another backbone than .*other"), (tmp_path, "no CLIPSeg here")):
        with pytest.raises(PipelineError, match=message):
            find_backbone(moved, given)
        with pytest.raises(PipelineError, match="no CLIPSeg here"):
            load_checkpoint(tmp_path / "run.ckpt", tmp_path, None)
    assert find_backbone(moved, own) == own
    (tmp_path / "results").mkdir()
    (tmp_path / "results/backbone").symlink_to(own)
    assert find_backbone(moved) == Path("results/backbone")
    linked(own, moved / "backbone")
    assert find_backbone(moved) == moved / "backbone"


def test_runs_of_different_sizes_are_not_averaged(study, tmp_path):
    backbone, variant = study.results / "backbone", {"kind": "telescopic"}
    segmenter = trained_start(variant, load_backbone(backbone))
    sources = [str(tmp_path / size) for size in ("64", "96")]
    for source in map(Path, sources):
        source.mkdir()
        save_weights(source / "weights.safetensors", segmenter, variant, {"image_size": source.name})
    with pytest.raises(PipelineError, match=r"trained with different sizes: .* with 64, .* with 96; choose one"):
        load_runs(sources, backbone, None)
    both = load_runs(sources, backbone, 80)
    assert both.size == 80 and len(both.segmenters) == 2
    assert load_runs(sources[:1], backbone, None).size == 64

"""Pretraining of the tiny CLIPSeg: the folder it writes."""

from pipeline.demo import pretrain
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer


def run(monkeypatch, output, *options) -> None:
    common = ["--image-size", "32", "--batch-size", "4", "--learning-rate", "1e-3", "--output", output]
    monkeypatch.setattr("sys.argv", ["pretrain", *map(str, [*common, *options])])
    pretrain.main()


def test_the_folder_is_a_backbone_and_depends_on_the_seed_alone(tmp_path, monkeypatch):
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        run(monkeypatch, tmp_path / name, "--steps", 2, "--seed", seed)
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "same", "other")}
    assert weights["one"] == weights["same"] != weights["other"]
    assert load_backbone(tmp_path / "one").config.text_config.vocab_size == len(load_tokenizer(tmp_path / "one"))

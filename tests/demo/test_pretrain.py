"""Pretraining of the tiny CLIPSeg: the folder it writes."""

from pipeline.demo import pretrain
from pipeline.models.backbone import load_backbone
from pipeline.models.preprocessing import load_tokenizer


def test_the_folder_is_a_backbone_and_depends_on_the_seed_alone(tmp_path, monkeypatch):
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        options = ["--image-size=32", "--batch-size=4", "--steps=2", "--learning-rate=1e-3", "--threads=1"]
        monkeypatch.setattr("sys.argv", ["pretrain", *options, f"--seed={seed}", f"--output={tmp_path / name}"])
        pretrain.main()
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "same", "other")}
    assert weights["one"] == weights["same"] != weights["other"]
    assert load_backbone(tmp_path / "one").config.text_config.vocab_size == len(load_tokenizer(tmp_path / "one"))

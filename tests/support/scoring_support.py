"""A tiny trained run with prepared tensors, and its scores by plain code: one image and one prompt at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from model_support import scaled_backbone, trained_start
from PIL import Image

from pipeline.data.cases import Case, write_cases
from pipeline.data.tensors import load_split, prepare
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import load_backbone, random_backbone, tiny_config
from pipeline.models.preprocessing import load_tokenizer, normalise, tokenise
from pipeline.models.weights import load_weights, save_weights
from pipeline.runtime.atomic import write_json
from pipeline.runtime.manifest import file_sha256, manifest

SIZE, SEED = 64, 41
RUN = f"runs/busi/telescopic/seed{SEED}"
PROMPTS = {
    "p0": "",
    "p1": "polyp",
    "p2": ["one small pink polyp", "large red circle in the left of the image", "nodule"],
}


def _write_dataset(results: Path, name: str, generator: np.random.Generator, count: int) -> None:
    """Test cases of different sizes and their tensors; the first has one more prompt, the last an empty target."""
    folder, cases = results / "datasets" / name, []
    for kind in ("images", "masks", "masks_reference"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        height, width = 70 + 5 * index, 90 - 4 * index
        mask = np.zeros((height, width), dtype=np.uint8)
        if index < count - 1:
            mask[10 : 40 + index, 20 : 60 - index] = 255
        prompts = PROMPTS | ({"p7": "of one case only"} if index == 0 else {})
        facts = {"width": width, "height": height, "foreground": int((mask > 0).sum()), "bbox": None, "group": ""}
        hashes = {"image_sha256": "", "mask_sha256": "", "reference_mask_sha256": "noisy" * (index == 1), "subject": ""}
        cases.append(Case(f"{index:03}", "test", image=f"{index:03}.png", prompts=prompts, **facts, **hashes))
        image = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        for kind, file, pixels in (("images", cases[-1].image, image), ("masks", cases[-1].mask, mask)):
            Image.fromarray(pixels).save(folder / kind / file)
        # The reference sees more foreground in the second case.
        noisy = np.pad(mask, 3, mode="edge")[6:, 6:] | mask
        Image.fromarray(noisy).save(folder / "masks_reference" / cases[-1].mask)
    write_cases(folder / "cases.csv", cases)
    prepare(folder, SIZE, 1, results / "tensors" / name)


def write_study(results: Path) -> None:
    """A tiny backbone whose masks depend on the prompt, a run on busi, and the datasets busi (5 cases) and bkai (3)."""
    config = tiny_config()
    backbone, generator = scaled_backbone(config), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in backbone.named_parameters():
            # At initialisation the text feature hardly depends on the prompt, and the decoder hardly on the feature.
            if "text_model" in name and "self_attn" in name and value.ndim == 2:
                value.copy_(torch.randn(value.shape, generator=generator) / value.shape[1] ** 0.5)
            if "film" in name or "text_projection" in name:
                value *= 20
    backbone.save_pretrained(results / "backbone")
    write_tokenizer(results / "backbone")
    variant = {"kind": "telescopic"}
    (results / RUN).mkdir(parents=True)
    extra = {"backbone_sha256": file_sha256(results / "backbone/model.safetensors")}
    segmenter = trained_start(variant, random_backbone(config, 0))
    save_weights(results / RUN / "weights.safetensors", segmenter, variant, extra)
    settings = {"learning_rate": 1e-3, "max_epochs": 7}
    record = {"run": RUN.removeprefix("runs/"), "trained_parameters": 98225, "epochs": 7, "best_epoch": 5}
    record |= {"configuration": {"variant": variant, "training": settings, "seed": SEED, "threads": 1}}
    record |= {"best_val_dsc": 0.51239, "precision": "fp32", **extra, "data_sha256": "d" * 64, "code_sha256": "c" * 64}
    write_json(results / RUN / "manifest.json", manifest("cpu", **record))
    numbers = np.random.default_rng(3)
    _write_dataset(results, "busi", numbers, 5)
    _write_dataset(results, "bkai", numbers, 3)


def plain_probabilities(results: Path, images: Iterable[np.ndarray], prompts: Iterable[str]) -> Iterator[torch.Tensor]:
    """By the plain forward: float32 (S, S) for each image and prompt."""
    segmenter = load_weights(results / RUN / "weights.safetensors", load_backbone(results / "backbone"))
    tokenizer = load_tokenizer(results / "backbone")
    for image, prompt in zip(images, prompts, strict=True):
        ids, mask = tokenise(tokenizer, [prompt])
        with torch.no_grad():
            logits = segmenter(normalise(torch.from_numpy(np.array(image))[None]), ids, mask)
        yield torch.sigmoid(logits[0, 0])


def telling_threshold(results: Path) -> float:
    """A probability at which masks are neither empty nor full."""
    images = load_split(results / "tensors/busi", "test").images[:2]
    return round(float(torch.stack([*plain_probabilities(results, images, ["polyp", "nodule"])]).median()), 4)


def plain_scores(probability: torch.Tensor, target: np.ndarray, threshold: float) -> tuple[float, int, int]:
    """DSC, target and predicted pixels at the target's size, by other code than the project's."""
    resized = torch.nn.functional.interpolate(probability[None, None], size=target.shape, mode="nearest-exact")[0, 0]
    mask = (resized > threshold).numpy()
    total = mask.sum() + target.sum()
    return (2 * (mask & target).sum() / total if total else 1.0), int(target.sum()), int(mask.sum())

"""A tiny trained run with prepared tensors, and its scores by plain code: one image and one prompt at a time."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from model_support import tiny
from PIL import Image

from pipeline.data.tensors import load_split
from pipeline.demo.tiny import write_tokenizer
from pipeline.models.backbone import load_backbone, random_backbone
from pipeline.models.preprocessing import load_tokenizer, normalise, tokenise
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, save_weights

SIZE, SEED = 64, 41
RUN = f"runs/busi/telescopic/seed{SEED}"
PROMPTS = {
    "p0": "",
    "p1": "polyp",
    "p2": ["one small pink polyp", "large red circle in the left of the image", "nodule"],
}


def _write_dataset(results: Path, name: str, generator: np.random.Generator, count: int) -> None:
    """Images and tensors of test cases of different sizes; the first has one more prompt, the last an empty target."""
    folder, images = results / "tensors" / name, results / "datasets" / name / "images"
    folder.mkdir(parents=True)
    images.mkdir(parents=True)
    masks, packed, rows, offset = [], [], [], 0
    for index in range(count):
        height, width = 70 + 5 * index, 90 - 4 * index
        target = np.zeros((height, width), dtype=bool)
        if index < count - 1:
            target[10 : 40 + index, 20 : 60 - index] = True
        rows_of, columns_of = (np.arange(SIZE) * side // SIZE for side in target.shape)
        masks.append(target[rows_of][:, columns_of])
        packed.append(np.packbits(target))
        prompts = PROMPTS | ({"p7": "of one case only"} if index == 0 else {})
        rows.append(
            {"case": f"{index:03}", "split": "test", "width": width, "height": height, "prompts": json.dumps(prompts)}
            | {"image": f"{index:03}.png", "target_offset": offset, "target_bytes": len(packed[-1])}
        )
        offset += len(packed[-1])
        Image.new("RGB", (width, height)).save(images / rows[-1]["image"])
    np.save(folder / "images.npy", generator.integers(0, 255, (count, SIZE, SIZE, 3), dtype=np.uint8))
    np.save(folder / "masks.npy", np.array(masks, dtype=np.uint8))
    np.save(folder / "targets.npy", np.concatenate(packed))
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)


def write_study(results: Path) -> None:
    """A tiny backbone whose masks depend on the prompt, a run on busi, and the datasets busi (5 cases) and bkai (3)."""
    config = tiny().config
    for part in (config, config.vision_config, config.text_config):
        part.initializer_factor = 0.3
    backbone, generator = random_backbone(config, 0), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in backbone.named_parameters():
            if value.ndim == 1 and not name.endswith("class_embedding"):
                value += 0.05 * torch.randn(value.shape, generator=generator)
            # At initialisation the text feature hardly depends on the prompt, and the decoder hardly on the feature.
            if "text_model" in name and "self_attn" in name and value.ndim == 2:
                value.copy_(torch.randn(value.shape, generator=generator) / value.shape[1] ** 0.5)
            if "film" in name or "text_projection" in name:
                value *= 20
    backbone.save_pretrained(results / "backbone")
    write_tokenizer(results / "backbone")
    torch.manual_seed(0)
    variant = {"kind": "telescopic"}
    segmenter = build_segmenter(variant, random_backbone(config, 0))
    with torch.no_grad():
        for value in segmenter.trainable_parameters().values():
            value += 0.05 * torch.randn(value.shape, generator=generator)
    (results / RUN).mkdir(parents=True)
    save_weights(results / RUN / "weights.safetensors", segmenter, variant, {})
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

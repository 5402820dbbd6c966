"""A run's weights: what training changed, with the variant's settings in the file's metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPSegForImageSegmentation

from pipeline.models.interface import SegmentationModel
from pipeline.models.variants import build_segmenter
from pipeline.runtime.atomic import atomic_path
from pipeline.runtime.errors import PipelineError


def save_weights(
    path: str | Path, segmenter: SegmentationModel, variant_settings: Mapping[str, Any], extra: Mapping[str, str]
) -> None:
    """Write :meth:`SegmentationModel.trained_state`, the variant's settings and the precision; bytes follow content.

    Args:
        path: written in place; wrap it in :func:`pipeline.runtime.atomic.atomic_path`.
        variant_settings: the entry of ``variants`` that built ``segmenter``, JSON-ready.
        extra: further metadata, such as the seed and the hashes of data and backbone.
    """
    settings = json.dumps(dict(variant_settings), sort_keys=True)
    metadata = {**extra, "variant": settings, "precision": segmenter.precision}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in segmenter.trained_state().items()}
    save_file(state, path, metadata=metadata)
    _sort_metadata(Path(path))


def save_tensors(path: str | Path, content: Mapping[str, Any]) -> None:
    """``torch.save`` that appears whole or not at all; the same content gives the same bytes.

    Raises:
        PipelineError: the file cannot be written, as on a full disk, which torch's own error does not say.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            # Into a file and not to a path: torch.save would write the temporary name into the archive.
            torch.save(content, file)
    except RuntimeError as error:
        raise PipelineError(f"{path}: cannot be written ({error}); free space on the disk and run again") from None


def _sort_metadata(path: Path) -> None:
    """safetensors writes its metadata in an order that changes from process to process; this one does not."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(length))


def load_weights(path: str | Path, backbone: CLIPSegForImageSegmentation) -> SegmentationModel:
    """The segmenter of a run, in evaluation mode.

    Args:
        path: a run's weights.safetensors.
        backbone: the CLIPSeg that it was trained on; taken over by the segmenter.

    Raises:
        PipelineError: not such a file, or weights of another backbone or variant.
    """
    path = Path(path)
    settings = read_variant(path)
    try:
        segmenter = build_segmenter(settings, backbone)
        segmenter.load_trained_state(load_file(path))
    except (ValueError, RuntimeError) as error:
        raise PipelineError(f"{path}: {error}; was it trained on this backbone and with this version?") from None
    segmenter.precision = read_metadata(path).get("precision", "fp32")
    return segmenter.eval()


def read_metadata(path: str | Path) -> dict[str, str]:
    """What :func:`save_weights` wrote beside the tensors: the variant's settings as JSON, and the extra entries.

    Raises:
        PipelineError: the file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path}: cannot be read as a run's weights ({error})") from None


def read_variant(path: str | Path) -> dict[str, Any]:
    """The settings of the variant that a weights file belongs to.

    Raises:
        PipelineError: the file is missing, broken or not one of a run.
    """
    try:
        return dict(json.loads(read_metadata(path)["variant"]))
    except (KeyError, ValueError, TypeError, RecursionError):
        raise PipelineError(f"{path}: holds no variant's settings; it is no weights.safetensors of a run") from None

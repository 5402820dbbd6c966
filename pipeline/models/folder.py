"""What config.json and model.safetensors of a backbone's folder must hold."""

import json
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from pipeline.models.shapes import Shapes, difference, shapes_of
from pipeline.runtime.errors import PipelineError

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def read_config(folder: str | Path) -> CLIPSegConfig:
    """The configuration of a backbone's folder.

    Raises:
        PipelineError: config.json is missing, or not CLIPSeg's.
    """
    path = Path(folder) / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["model_type"] != "clipseg":
            raise PipelineError(f"{path}: model_type is {content['model_type']!r}; only 'clipseg' can be used")
        return CLIPSegConfig.from_dict(content)
    except OSError as error:
        raise PipelineError(
            f"{path}: cannot be read ({error.strerror}); fetch or pretrain the backbone first"
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError, StrictDataclassError) as error:
        raise PipelineError(f"{path}: not a CLIPSeg configuration ({error!r})") from None


def misfit(config: CLIPSegConfig, shapes: Shapes) -> str | None:
    """How the names and shapes in a weights file differ from those of a CLIPSeg; none if they fit."""
    layers = config.vision_config.num_hidden_layers + config.text_config.num_hidden_layers
    if layers > len(shapes):
        return f"{layers} layers, but {len(shapes)} tensors"
    try:
        with torch.device("meta"):
            model = CLIPSegForImageSegmentation(config)
    except (ValueError, TypeError, RuntimeError) as error:
        return f"no model of these sizes can be built ({error})"
    return difference(shapes_of(model.state_dict()), shapes)

"""Checkpoints in the key layouts of the authors' release and of VLSM-Adapter: read them, and write runs as such.

python -m pipeline.models.checkpoints export --run RUN --backbone DIR --output FILE.ckpt

These are Lightning files: pickles. They are opened with ``weights_only=True``, so nothing in them is ever executed.
"""

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPSegForImageSegmentation

from pipeline.models.backbone import load_backbone
from pipeline.models.kinds import VariantSettings, parse_variant
from pipeline.models.segmenter import Segmenter
from pipeline.models.shapes import difference, shapes_of
from pipeline.models.variants import build_segmenter
from pipeline.models.weights import load_weights, read_variant, save_tensors
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import log

# Where Lightning puts the model, and what such files hold beside tensors: the hyper-parameters of optimiser, schedule
# and loss. Names under these roots are replaced by an inert class, and names elsewhere make the file foreign.
NET = "net."
INERT = (
    "collections.",
    "functools.partial",
    "hydra.",
    "lightning.",
    "lightning_fabric.",
    "monai.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "src.",
    "torch.nn.modules.",
    "torch.optim.",
    "typing.",
)
PARAMETERS = {"down": "down_project", "up": "up_project"}


class _Inert:
    """Replaces a class or function that a checkpoint names and the weights do not need; does nothing."""

    def __init__(self, *arguments: Any, **named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_released_checkpoint(path: str | Path, backbone: CLIPSegForImageSegmentation) -> Segmenter:
    """The segmenter of a released checkpoint, in evaluation mode; its logits are those of its authors' code.

    Reads the Lightning files of Telescopic Adapters and of VLSM-Adapter (dense and shallow) and tells them apart by
    their keys. The file's own CLIPSeg weights replace those of ``backbone``.

    Args:
        path: a .ckpt file.
        backbone: a CLIPSeg of the file's architecture; taken over by the segmenter.

    Raises:
        PipelineError: the file is corrupt, foreign or wants to run code, or its keys or shapes are not the expected.
    """
    path = Path(path)
    state = _read_state(path)
    depth = backbone.config.text_config.num_hidden_layers
    try:
        settings = parse_variant(_recognise(state, depth))
        segmenter = build_segmenter(settings, backbone)
        names = _file_names(segmenter, settings)
    except ValueError as error:
        raise PipelineError(f"{path}: its adapters are none that this project knows: {error}") from None
    if settings.kind == "vlsm_shallow":
        state = _without_duplicates(path, state)
    own = segmenter.state_dict()
    reason = difference(shapes_of({names[name]: tensor for name, tensor in own.items()}), shapes_of(state))
    if reason:
        raise PipelineError(f"{path}: does not fit this backbone: {reason}")
    segmenter.load_state_dict({name: state[names[name]] for name in own})
    return segmenter.eval()


# -------------------------------------------------------------------- the file


def _read_state(path: Path) -> dict[str, Tensor]:
    """The model's tensors by name, without Lightning's prefix."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            # torch.save never compresses; what is compressed may be of any size once it is not.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("compressed members")
            broken = archive.testzip()
        if broken:
            raise zipfile.BadZipFile(f"checksum of {broken}")
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:
        # What a broken file raises depends on where it is broken.
        raise PipelineError(
            f"{path}: not a whole file of torch.save ({type(error).__name__}: {error}); download it again"
        ) from None
    foreign = sorted(name for name in unknown if not f"{name}.".startswith(INERT))
    if foreign:
        raise PipelineError(
            f"{path}: refused, as it names {', '.join(foreign[:5])}, which no checkpoint of these models needs; "
            "nothing in it was executed"
        )
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in unknown]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise PipelineError(f"{path}: cannot be read as plain weights ({error!r:.200})") from None
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise PipelineError(f"{path}: holds no state_dict of tensors; it is not a checkpoint of these models")
    size = path.stat().st_size
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.numel() * tensor.element_size() > size:
            raise PipelineError(f"{path}: {name}, {tuple(tensor.shape)}, is no dense tensor that this file could hold")
    return {str(name).removeprefix(NET): tensor for name, tensor in state.items()}


def _without_duplicates(path: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """VLSM-Adapter's shallow model refers to its CLIP twice, so its file holds it twice."""
    copies = {name: tensor for name, tensor in state.items() if name.startswith("clip.")}
    different = [
        name
        for name, tensor in copies.items()
        if f"clipseg.{name}" not in state or not torch.equal(state[f"clipseg.{name}"], tensor)
    ]
    if different:
        raise PipelineError(
            f"{path}: {len(different)} tensors under clip. differ from those under clipseg.clip., e.g. {different[0]}"
        )
    return {name: tensor for name, tensor in state.items() if name not in copies}


# -------------------------------------------------------------------- the layouts


def _recognise(state: Mapping[str, Tensor], text_depth: int) -> dict[str, Any]:
    """Settings of the variant whose keys these are.

    Raises:
        ValueError: they are those of none.
    """
    if any(name.startswith(("vision_extract_adapters.", "text_extract_adapters.")) for name in state):
        return {
            "kind": "vlsm_shallow",
            "width": _width(state, "vision_extract_adapters.0.fc1.weight"),
            "conditional_width": _width(state, "cond_adapter.fc1.weight"),
        }
    layers = {name: _indices(state, f"{name}_attn_adapters") for name in ("v", "l")}
    branches = {"vision": layers["v"], "text": layers["l"], "conditional": "cond_adapter.norm.weight" in state}
    if any(".down_project." in name for name in state):
        settings = {
            "kind": "telescopic",
            "mask_refinement": any(name.startswith("boundary_enhancer.") for name in state),
        }
        if layers["v"]:
            settings["schedule"] = [_width(state, f"v_attn_adapters.{i}.down_project.weight") for i in layers["v"]]
            settings["vision_layers"] = [index + 1 for index in layers["v"]]
        if layers["l"]:
            settings["text_width"] = _width(state, "l_attn_adapters.0.down_project.weight")
            # The last layers of the encoder, whatever their number.
            settings["text_layers"] = [text_depth - len(layers["l"]) + index + 1 for index in layers["l"]]
        if branches["conditional"]:
            settings["conditional_width"] = _width(state, "cond_adapter.down_project.weight")
    elif any(re.fullmatch(r"[vl]_attn_adapters\.0\.fc1\.weight", name) for name in state):
        branches["conditional"] = "cond_adapter.fc1.weight" in state
        settings = {"kind": "vlsm_dense"}
        for name, key in (("v", "vision_layers"), ("l", "text_layers")):
            if layers[name]:
                settings["width"] = _width(state, f"{name}_attn_adapters.0.fc1.weight")
                settings[key] = [index + 1 for index in layers[name]]
        if branches["conditional"]:
            settings["conditional_width"] = _width(state, "cond_adapter.fc1.weight")
    else:
        raise ValueError(f"no adapters of a known kind among {len(state)} keys, e.g. {sorted(state)[:3]}")
    return {**settings, "branches": [name for name, present in branches.items() if present]}


def _indices(state: Mapping[str, Tensor], name: str) -> list[int]:
    return sorted({int(found[1]) for key in state if (found := re.match(rf"{name}\.(\d+)\.", key))})


def _width(state: Mapping[str, Tensor], name: str) -> int:
    if name not in state or state[name].ndim != 2 or not state[name].numel():
        raise ValueError(f"no matrix {name}")
    return state[name].shape[0]


def _file_names(segmenter: Segmenter, settings: VariantSettings) -> dict[str, str]:
    """The key in the file for each key of the segmenter's state.

    Raises:
        ValueError: the layout has no place for an adapter of this variant.
    """
    if settings.kind not in ("telescopic", "vlsm_dense", "vlsm_shallow"):
        raise ValueError(f"the layouts have no place for kind {settings.kind!r}")
    places = _adapter_names(settings, segmenter.clipseg.config.text_config.num_hidden_layers)
    names = {}
    for name in segmenter.state_dict():
        if name.startswith("adapters."):
            _, place, rest = name.split(".", 2)
            if place not in places:
                raise ValueError(f"the layouts have no place for an adapter at {place}")
            first, _, last = rest.partition(".")
            # The refinement's layers stand in the file without a name of their own; all others keep their names.
            inner = last if place == "refinement" else f"{PARAMETERS.get(first, first)}.{last}".rstrip(".")
            names[name] = f"{places[place]}.{inner}"
        else:
            names[name] = name
    return names


def _adapter_names(settings: VariantSettings, text_depth: int) -> dict[str, str]:
    """The name in the file of each place that a layout has."""
    names = {"conditional": "cond_adapter", "refinement": "boundary_enhancer"}
    if settings.kind == "vlsm_shallow":
        return names | {
            f"{name}_extract_{i}": f"{name}_extract_adapters.{i}" for name in ("vision", "text") for i in range(3)
        }
    # Adapters are numbered from the first vision layer on. Text adapters too in VLSM-Adapter; those of Telescopic
    # Adapters stand in the last layers.
    offset = text_depth - len(settings.text_layers) if settings.kind == "telescopic" else 0
    for part, name in (("attention", "attn"), ("mlp", "out")):
        for index in range(len(settings.vision_layers)):
            names[f"vision_{index + 1}_{part}"] = f"v_{name}_adapters.{index}"
        for index in range(len(settings.text_layers)):
            names[f"text_{offset + index + 1}_{part}"] = f"l_{name}_adapters.{index}"
    return names


# -------------------------------------------------------------------- writing


def export(run: str | Path, backbone: str | Path, output: str | Path) -> None:
    """Write a run's weights as a checkpoint that :func:`load_released_checkpoint` and the authors' code can read.

    The authors' classes build what they load from one base dimension: they take exports of variants with their widths
    and all their branches.

    Args:
        run: folder with weights.safetensors, of kind telescopic, vlsm_dense or vlsm_shallow.
        backbone: folder of the CLIPSeg that the run was trained on.
        output: the .ckpt file.

    Raises:
        PipelineError: no such run, or a variant that the layout has no place for.
    """
    weights = Path(run) / "weights.safetensors"
    settings = parse_variant(read_variant(weights))
    segmenter = load_weights(weights, load_backbone(backbone))
    try:
        names = _file_names(segmenter, settings)
    except ValueError as error:
        raise PipelineError(f"{weights}: cannot be written in the authors' layout: {error}") from None
    state = {f"{NET}{names[name]}": tensor for name, tensor in segmenter.state_dict().items()}
    if settings.kind == "vlsm_shallow":
        prefix = f"{NET}clipseg."
        state |= {
            name.replace(prefix, NET, 1): tensor for name, tensor in state.items() if name.startswith(f"{prefix}clip.")
        }
    save_tensors(output, {"state_dict": state})
    log(f"{output}: {len(state)} tensors of a {settings.kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="write a run in the authors' key layout")
    command.add_argument("--run", type=Path, required=True, help="folder of the run")
    command.add_argument("--backbone", type=Path, required=True, help="folder of the CLIPSeg it was trained on")
    command.add_argument("--output", type=Path, required=True, help=".ckpt file to write")
    arguments = parser.parse_args()
    export(arguments.run, arguments.backbone, arguments.output)


if __name__ == "__main__":
    run_command(main)

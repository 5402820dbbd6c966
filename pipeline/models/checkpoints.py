"""Checkpoints in the key layouts of the authors' release and of VLSM-Adapter: read them, and write runs as such.

python -m pipeline.models.checkpoints export --run RUN --backbone DIR --output FILE.ckpt

Lightning files are pickles. They are opened with ``weights_only=True``, so nothing in them is ever executed. The same
keys in a safetensors file are read too.
"""

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
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
INERT = re.compile(
    r"functools\.partial$|(collections|hydra|lightning|lightning_fabric|monai|numpy|omegaconf|pathlib|pytorch_lightning"
    r"|src|torch\.nn\.modules|torch\.optim|typing)\."
)
PARAMETERS = {"down": "down_project", "up": "up_project"}
# The first matrix of an adapter, from whose rows its width follows.
ADAPTER = re.compile(
    r"(?P<name>v_attn|l_attn|vision_extract|cond)_adapter(s\.(?P<index>\d{1,3}))?\.(?P<matrix>down_project|fc1)\.weight"
)


class _Inert:
    """Replaces a class or function that a checkpoint names and the weights do not need; does nothing."""

    def __init__(self, *arguments: Any, **named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def load_released_checkpoint(path: str | Path, backbone: CLIPSegForImageSegmentation) -> Segmenter:
    """The segmenter of a released checkpoint; see :func:`read_released_checkpoint`."""
    return read_released_checkpoint(path, backbone)[0]


def read_released_checkpoint(
    path: str | Path, backbone: CLIPSegForImageSegmentation
) -> tuple[Segmenter, VariantSettings]:
    """The segmenter of a released checkpoint, in evaluation mode, and its settings.

    Reads the files of Telescopic Adapters and of VLSM-Adapter (dense and shallow) and tells them apart by their keys.
    The logits are those of the authors' code. The file's own CLIPSeg weights replace those of ``backbone``.

    Args:
        path: a file of Lightning's or torch's (.ckpt, .pth, .pt), or of safetensors; its content tells.
        backbone: a CLIPSeg of the file's architecture; taken over by the segmenter.

    Raises:
        PipelineError: the file is corrupt, foreign or wants to run code, or its keys or shapes are not the expected.
    """
    path = Path(path)
    state = _read_state(path)
    try:
        settings = parse_variant(_recognise(state, backbone.config.text_config.num_hidden_layers))
        segmenter = build_segmenter(settings, backbone)
        own = _file_tensors(segmenter, settings)
    except ValueError as error:
        raise PipelineError(f"{path}: its adapters are none that this project knows: {error}") from None
    reason = difference(shapes_of(own), shapes_of(state))
    if reason:
        raise PipelineError(f"{path}: does not fit this backbone: {reason}")
    copies = [name for name in own if name.startswith("clip.")]
    different = [name for name in copies if not torch.equal(state[f"clipseg.{name}"], state[name])]
    if different:
        raise PipelineError(
            f"{path}: {len(different)} tensors under clip. differ from those under clipseg.clip., e.g. {different[0]}"
        )
    for name, tensor in own.items():
        tensor.copy_(state[name])
    return segmenter.eval(), settings


# -------------------------------------------------------------------- the file


def _read_state(path: Path) -> dict[str, Tensor]:
    """The model's tensors by name, without Lightning's prefix."""
    if not path.is_file():
        raise PipelineError(f"{path}: no such file")
    with path.open("rb") as file:
        # The length of a JSON header, then the header.
        plain = file.read(9)[8:] == b"{"
    state = _read_safetensors(path) if plain else _read_pickle(path)
    return {str(name).removeprefix(NET): tensor for name, tensor in state.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise PipelineError(f"{path}: not a whole safetensors file ({error}); download it again") from None


def _read_pickle(path: Path) -> Mapping[str, Tensor]:
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
    foreign = sorted(name for name in unknown if not INERT.match(name))
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
    return state


# -------------------------------------------------------------------- the layouts


def _recognise(state: Mapping[str, Tensor], text_depth: int) -> dict[str, Any]:
    """Settings of the variant whose keys these are; whether every key and shape fits them is still to be checked.

    Raises:
        ValueError: they are those of none.
    """
    widths: dict[str, dict[int, int]] = {"v_attn": {}, "l_attn": {}, "cond": {}, "vision_extract": {}}
    first_matrices = set()
    for name, tensor in state.items():
        found = ADAPTER.fullmatch(name)
        if found:
            if tensor.ndim != 2 or not tensor.numel():
                raise ValueError(f"no matrix {name}")
            widths[found["name"]][int(found["index"] or 0)] = len(tensor)
            first_matrices.add(found["matrix"])
    vision, text, conditional, shallow = widths.values()
    if not first_matrices:
        raise ValueError(f"no adapters of a known kind among {len(state)} keys, e.g. {sorted(state)[:3]}")
    if shallow:
        settings = {"kind": "vlsm_shallow", "width": shallow.get(0)}
    else:
        branches = {"vision": vision, "text": text, "conditional": conditional}
        settings = {
            "branches": [branch for branch, present in branches.items() if present],
            "vision_layers": list(range(1, len(vision) + 1)) or None,
            "text_layers": list(range(1, len(text) + 1)) or None,
        }
        if "down_project" in first_matrices:
            settings |= {
                "kind": "telescopic",
                "schedule": [vision[index] for index in sorted(vision)] or None,
                "text_width": text.get(0),
                # The last layers of the encoder, whatever their number.
                "text_layers": list(range(text_depth - len(text) + 1, text_depth + 1)) or None,
                "mask_refinement": any(name.startswith("boundary_enhancer.") for name in state),
            }
        else:
            settings |= {"kind": "vlsm_dense", "width": vision.get(0, text.get(0))}
    settings["conditional_width"] = conditional.get(0)
    return {key: value for key, value in settings.items() if value is not None}


def _file_tensors(segmenter: Segmenter, settings: VariantSettings) -> dict[str, Tensor]:
    """The tensors of the segmenter's state under their keys in a file, without Lightning's prefix.

    Raises:
        ValueError: the layout has no place for an adapter of this variant.
    """
    if settings.kind not in ("telescopic", "vlsm_dense", "vlsm_shallow"):
        raise ValueError(f"the layouts have no place for kind {settings.kind!r}")
    places = _adapter_names(settings, segmenter.clipseg.config.text_config.num_hidden_layers)
    tensors = {}
    for name, tensor in segmenter.state_dict().items():
        if name.startswith("adapters."):
            _, place, rest = name.split(".", 2)
            if place not in places:
                raise ValueError(f"the layouts have no place for an adapter at {place}")
            first, _, last = rest.partition(".")
            # The refinement's layers stand in the file without a name of their own; all others keep their names.
            inner = last if place == "refinement" else f"{PARAMETERS.get(first, first)}.{last}".rstrip(".")
            name = f"{places[place]}.{inner}"
        tensors[name] = tensor
    if settings.kind == "vlsm_shallow":
        # VLSM-Adapter's shallow model refers to its CLIP twice, so its file holds it twice.
        clip = {name: tensor for name, tensor in tensors.items() if name.startswith("clipseg.clip.")}
        tensors |= {name.removeprefix("clipseg."): tensor for name, tensor in clip.items()}
    return tensors


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
        state = {f"{NET}{name}": tensor for name, tensor in _file_tensors(segmenter, settings).items()}
    except ValueError as error:
        raise PipelineError(f"{weights}: cannot be written in the authors' layout: {error}") from None
    save_tensors(output, {"state_dict": state})
    log(f"{output}: {len(state)} tensors of a {settings.kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["export"], help="write a run in the authors' key layout")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--backbone", type=Path, required=True, help="folder of the CLIPSeg it was trained on")
    parser.add_argument("--output", type=Path, required=True, help=".ckpt file to write")
    arguments = parser.parse_args()
    export(arguments.run, arguments.backbone, arguments.output)


if __name__ == "__main__":
    run_command(main)

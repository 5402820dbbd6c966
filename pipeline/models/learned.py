"""widths.json: a width schedule learned from a first run, wide where that run's adapters came to do most.

    python -m pipeline.models.learned --weights FIRST/weights.safetensors --variant JSON --output widths.json

What an adapter adds is measured by the Frobenius norm of |scale| * up * diag(norm.weight): its layer normalisation
gives the bottleneck unit variance. All adapters of one width start alike, so differences are what training made.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.models.kinds import parse_variant
from pipeline.models.kinds.telescopic import Telescopic
from pipeline.models.weights import read_variant
from pipeline.models.widths import apportion
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value


def layer_use(state: Mapping[str, Tensor], layers: Sequence[int], placement: Sequence[str]) -> list[float]:
    """What the vision adapters of each of ``layers`` add, in the mean over the layer's sub-layers.

    Args:
        state: a telescopic segmenter's trained state (:meth:`Segmenter.trained_state`).
        placement: the adapted sub-layers.
    """

    def use(place: str) -> float:
        scale, norm, up = (state[f"adapters.{place}.{name}"] for name in ("scale", "norm.weight", "up.weight"))
        return (scale.abs() * (up * norm).norm()).item()

    return [sum(use(f"vision_{layer}_{part}") for part in placement) / len(placement) for layer in layers]


def learn_widths(weights: Path, variant: Telescopic) -> list[int]:
    """Widths of ``variant``'s vision layers in proportion to the first run's use, of the sum that its own schedule has.

    Args:
        weights: the first run's weights.safetensors.

    Raises:
        PipelineError: the first run has no adapters of uniform width in these layers.
    """
    first, layers = parse_variant(read_variant(weights)), variant.vision_layers
    alike = isinstance(first, Telescopic) and "vision" in first.branches and first.schedule == "uniform"
    if not alike or not set(layers) <= set(first.vision_layers):
        raise PipelineError(
            f"{weights}: no run of the kind telescopic with the schedule uniform in vision layers {layers}; "
            "let widths_from name such a variant"
        )
    state = load_file(weights)
    most = min(len(state[f"adapters.vision_{layer}_{first.placement[0]}.up.weight"]) for layer in layers) // 4
    return apportion(layer_use(state, layers, first.placement), sum(variant.vision_widths()), most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors of the first run")
    parser.add_argument(
        "--variant", type=json_value("--variant", dict), required=True, help="settings of its kind, JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="widths.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    write_json(options.output, {"schedule": learn_widths(options.weights, parse_variant(options.variant))})


if __name__ == "__main__":
    run_command(main)

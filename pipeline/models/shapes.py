"""Names and shapes of a model's tensors, compared with those of a file."""

from collections.abc import Mapping

from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """The shape of each tensor by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def difference(expected: Shapes, found: Shapes) -> str | None:
    """How ``found`` differs from ``expected``, in words; none if it does not.

    Position numbers (``*.position_ids``), which files of older versions of transformers hold too, do not count.
    """
    missing = sorted(expected.keys() - found.keys())
    foreign = sorted(name for name in found.keys() - expected.keys() if not name.endswith(".position_ids"))
    other = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    if not (missing or foreign or other):
        return None
    shapes = [f"{name} {found[name]} for {expected[name]}" for name in other[:3]]
    return (
        f"{len(missing)} tensors missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}, "
        f"{len(other)} of another shape {shapes}"
    )

"""How many parameters a variant has, trains and stores."""

from collections import Counter
from dataclasses import dataclass

from pipeline.models.kinds import VariantSettings
from pipeline.models.segmenter import Segmenter

BRANCHES = {
    "vision": ("adapters.vision_", "clipseg.clip.vision_model."),
    "text": ("adapters.text_", "clipseg.clip.text_model."),
    "conditional": ("adapters.conditional.", "clipseg.clip.text_projection."),
    "decoder": ("clipseg.decoder.",),
    "refinement": ("adapters.refinement.",),
}


@dataclass(frozen=True)
class ParameterCounts:
    """Exact counts.

    Attributes:
        trainable: what a table calls trainable; for end_to_end the whole model, as the papers count.
        total: of backbone and adapters together.
        updated: those that training updates, every one of which gets a gradient.
        by_branch: ``updated`` by branch, keys as in BRANCHES.
        stored_bytes: of a trained variant's tensors on disk, in float32, without the file's header (some kB).
    """

    trainable: int
    total: int
    updated: int
    by_branch: dict[str, int]
    stored_bytes: int


def branch(name: str) -> str:
    """The branch that a parameter of a segmenter belongs to.

    Raises:
        ValueError: a parameter that cannot influence the mask.
    """
    for key, prefixes in BRANCHES.items():
        if name.startswith(prefixes):
            return key
    raise ValueError(f"{name} belongs to no branch that influences the mask")


def count_parameters(segmenter: Segmenter, settings: VariantSettings) -> ParameterCounts:
    """Count the parameters of ``segmenter``, which ``settings`` built; the meta device will do."""
    updated = {name: value.numel() for name, value in segmenter.trainable_parameters().items()}
    by_branch = Counter(dict.fromkeys(BRANCHES, 0))
    for name, count in updated.items():
        by_branch[branch(name)] += count
    return ParameterCounts(
        trainable=settings.trainable_parameters(segmenter),
        total=sum(value.numel() for value in segmenter.parameters()),
        updated=sum(updated.values()),
        by_branch=dict(by_branch),
        stored_bytes=sum(value.numel() * value.element_size() for value in segmenter.trained_state().values()),
    )

"""The registry of variant kinds: what each one is configured by, and the model that it makes.

A kind is one module in this folder with a registered settings class; it is discovered automatically.
"""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from transformers import CLIPSegForImageSegmentation

    from pipeline.models.interface import SegmentationModel
    from pipeline.models.segmenter import Segmenter

_KINDS: dict[str, type["KindSettings"]] = {}


def each_once(values: list) -> list:
    """``values``, of which none may be repeated; for validation."""
    if len(set(values)) != len(values):
        raise ValueError(f"{values}: an entry is listed more than once")
    return values


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


# What kinds choose from. Layers are counted from 1; the vision layers after the tenth never reach CLIPSeg's decoder.
VisionLayers = Annotated[list[Annotated[int, Field(ge=1, le=10)]], AfterValidator(each_once)]
TextLayers = Annotated[list[Annotated[int, Field(ge=1, le=12)]], AfterValidator(each_once)]
Branches = Annotated[list[Literal["vision", "text", "conditional"]], AfterValidator(each_once)]
SubLayers = Annotated[list[Literal["attention", "mlp"]], AfterValidator(each_once)]
Parts = Annotated[list[Literal["vision", "text", "decoder"]], AfterValidator(each_once)]


def prefix(parts: Parts) -> str:
    """A regular expression for the beginning of the names of all parameters of these parts."""
    names = [part if part == "decoder" else rf"clip\.{part}_model" for part in parts]
    return rf"({'|'.join(names)})\."


class KindSettings(BaseModel):
    """What all kinds share. Subclasses add their own settings and :meth:`build`.

    What a variant is called and how it is trained are the study's (:class:`pipeline.config.Variant`), not the kind's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    reads_prompt: ClassVar[bool] = True

    kind: str

    @property
    def pretrained(self) -> str | None:
        """The row of workflow/resources/pretrained_files.csv whose weights a training starts from, if any."""
        return None

    def build(self, backbone: "CLIPSegForImageSegmentation") -> "SegmentationModel":
        """The model, on the backbone's device; it takes the backbone over, or leaves it alone."""
        raise NotImplementedError

    def load_start(self, model: "SegmentationModel", backbone: Path, pretrained: Path | None) -> None:
        """Give a built model what a training starts from beside CLIPSeg and chance.

        Args:
            backbone: folder of the pretrained CLIPSeg.
            pretrained: the file of :attr:`pretrained`.
        """

    def changes(self) -> dict[str, Any]:
        """The kind and those settings that differ from its defaults, JSON-ready."""
        return self.model_dump(mode="json", exclude_defaults=True) | {"kind": self.kind}

    def trainable_parameters(self, segmenter: "SegmentationModel") -> int:
        """How many parameters a table calls trainable: as a rule all that training updates."""
        return sum(value.numel() for value in segmenter.trainable_parameters().values())


class VariantSettings(KindSettings):
    """What the kinds share that change a frozen CLIPSeg. Subclasses add their own settings and :meth:`attach`."""

    unfreeze: list[Annotated[str, AfterValidator(_pattern)]] = Field(
        [],
        description="Parameters of CLIPSeg that are trained as well, as regular expressions for whole names, such as "
        "decoder\\..* [studied]",
    )

    def build(self, backbone: "CLIPSegForImageSegmentation") -> "Segmenter":
        from pipeline.models.segmenter import Segmenter

        segmenter = Segmenter(backbone)
        self.change(segmenter)
        return segmenter

    def change(self, segmenter: "Segmenter") -> None:
        """Attach this kind's modules, and unfreeze what the settings name."""
        # By the names before attaching: peft puts its modules around CLIPSeg's.
        chosen = [value for pattern in self.unfreeze for value in segmenter.matching(pattern)]
        self.attach(segmenter)
        for value in chosen:
            value.requires_grad_(True)

    def attach(self, segmenter: "Segmenter") -> None:
        """Add this kind's modules to ``segmenter`` and mark what training updates. All else stays frozen."""
        raise NotImplementedError


class LayerSettings(VariantSettings):
    """Settings of kinds that change the layers which Telescopic Adapters adapt, unless told otherwise."""

    vision_layers: VisionLayers = Field(list(range(1, 10)), description="Adapted vision layers [studied]")
    text_layers: TextLayers = Field([10, 11, 12], description="Adapted text layers [studied]")

    def layers(self) -> list[str]:
        """The adapted layers as places name them: ``vision_1``, ..., ``text_12``."""
        return [*(f"vision_{layer}" for layer in self.vision_layers), *(f"text_{layer}" for layer in self.text_layers)]


def register(kind: str):
    """Class decorator: makes a :class:`KindSettings` subclass available as ``kind`` in config.yaml."""

    def add(settings: type[KindSettings]) -> type[KindSettings]:
        if kind in _KINDS and _KINDS[kind].__qualname__ != settings.__qualname__:
            raise ValueError(f"variant kind {kind!r} is registered twice: {_KINDS[kind]} and {settings}")
        _KINDS[kind] = settings
        return settings

    return add


def kinds() -> dict[str, type[KindSettings]]:
    """All registered kinds by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_KINDS.items()))


def parse_variant(value: dict[str, Any]) -> KindSettings:
    """Validate a variant's settings; the key ``kind`` says which class they are checked against.

    Raises:
        ValueError: there is no such kind; pydantic's ValidationError, which is one, if a setting is not valid.
    """
    known = kinds()
    kind = value.get("kind")
    if kind not in known:
        raise ValueError(f"kind: {kind!r} is unknown; allowed: {', '.join(known)}")
    return known[kind].model_validate(value)

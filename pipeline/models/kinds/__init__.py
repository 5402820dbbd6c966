"""The registry of variant kinds: what each one is configured by, and how it changes a frozen CLIPSeg.

A kind is one module in this folder with one registered settings class; it is found by being there.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from pipeline.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pipeline.models.segmenter import Segmenter

_KINDS: dict[str, type["VariantSettings"]] = {}


def _each_once(values: list) -> list:
    if len(set(values)) != len(values):
        raise ValueError(f"{values} names one twice")
    return values


# What kinds choose from. Layers are counted from 1; the vision layers after the tenth never reach CLIPSeg's decoder.
VisionLayers = Annotated[list[Annotated[int, Field(ge=1, le=10)]], AfterValidator(_each_once)]
TextLayers = Annotated[list[Annotated[int, Field(ge=1, le=12)]], AfterValidator(_each_once)]
Branches = Annotated[list[Literal["vision", "text", "conditional"]], AfterValidator(_each_once)]
SubLayers = Annotated[list[Literal["attention", "mlp"]], AfterValidator(_each_once)]
Projections = Annotated[list[Literal["q_proj", "k_proj", "v_proj", "out_proj"]], AfterValidator(_each_once)]


def _constrained(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


# Every field of the training settings, each optional: what a variant does not set comes from the study.
TrainingOverrides: type[BaseModel] = create_model(
    "TrainingOverrides",
    __config__=ConfigDict(extra="forbid", frozen=True),
    __doc__="Training settings of one variant that differ from the study's.",
    **{
        name: (_constrained(field) | None, Field(None, description=field.description))
        for name, field in TrainingSettings.model_fields.items()
    },
)


class VariantSettings(BaseModel):
    """What all kinds share. Subclasses add their own settings and :meth:`attach`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    label: str | None = Field(None, description="Name in tables and figures; the key in `variants` if absent")
    training: TrainingOverrides = Field(  # type: ignore[valid-type]
        default_factory=TrainingOverrides, description="Training settings in which this variant differs from the study"
    )

    def attach(self, segmenter: "Segmenter") -> None:
        """Add this kind's modules to ``segmenter`` and mark what training updates. All else stays frozen."""
        raise NotImplementedError

    def trainable_parameters(self, segmenter: "Segmenter") -> int:
        """How many parameters a table calls trainable: as a rule all that training updates."""
        return sum(value.numel() for value in segmenter.trainable_parameters().values())


def register(kind: str):
    """Class decorator: makes a :class:`VariantSettings` subclass available as ``kind`` in config.yaml."""

    def add(settings: type[VariantSettings]) -> type[VariantSettings]:
        if kind in _KINDS and _KINDS[kind].__qualname__ != settings.__qualname__:
            raise ValueError(f"variant kind {kind!r} is registered twice: {_KINDS[kind]} and {settings}")
        _KINDS[kind] = settings
        return settings

    return add


def kinds() -> dict[str, type[VariantSettings]]:
    """All registered kinds by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_KINDS.items()))


def parse_variant(value: dict[str, Any]) -> VariantSettings:
    """Validate one entry of ``variants``; the key ``kind`` says which class it is checked against."""
    known = kinds()
    kind = value.get("kind")
    if kind not in known:
        raise ValueError(f"kind: {kind!r} is unknown; allowed: {', '.join(known)}")
    return known[kind].model_validate(value)


__all__ = [
    "Branches",
    "Projections",
    "SubLayers",
    "TextLayers",
    "TrainingOverrides",
    "VariantSettings",
    "VisionLayers",
    "kinds",
    "parse_variant",
    "register",
]

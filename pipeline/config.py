"""The typed configuration: one source for defaults, validation and the JSON schema.

python -m pipeline.config schema workflow/schemas/config.schema.json   writes the schema
"""

import argparse
import difflib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from pipeline.data import sources
from pipeline.data.conventions import CONVENTIONS, CORRECTED
from pipeline.data.sources import SPLIT_VARIANTS
from pipeline.models.kinds import KindSettings, kinds, parse_variant
from pipeline.runtime.atomic import write_json
from pipeline.runtime.code import ROOT
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.training.settings import TrainingSettings

CONFIG = ROOT / "config.yaml"
TUNED = "tuned"
"""In place of a learning rate: the rates that the family ``tuning`` chooses."""


def _one_of(names: str, value: str) -> str:
    allowed = getattr(sources, names)
    if value not in allowed:
        raise ValueError(f"dataset {value!r} is unknown; allowed: {', '.join(allowed)}")
    return value


# The schema is the same whatever datasets of one's own there are.
_KEY = WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9_]*$"})
Dataset = Annotated[str, AfterValidator(functools.partial(_one_of, "DATASETS")), _KEY]
AnyDataset = Annotated[str, AfterValidator(functools.partial(_one_of, "ALL_DATASETS")), _KEY]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Phantoms(_Settings):
    """Phantom archives that the workflow makes itself."""

    train: int = Field(48, ge=4, description="Training cases of each dataset")
    val: int = Field(12, ge=2, description="Validation cases")
    test: int = Field(24, ge=2, description="Test cases")
    seed: int = Field(7, ge=0)


class Archives(_Settings):
    """Where the datasets' archives and split lists come from."""

    folder: str | None = Field(
        None,
        description="Folder with archives, and files of pretrained weights, of your own, taken before any download",
    )
    base_url: str | None = Field(None, description="Mirror that serves them under their names")
    annotations_folder: str | None = Field(
        None, description="Folder with the split lists, {list}/{train,val,test}.json"
    )
    annotations_url: str | None = Field(None, description="Mirror of the split lists; the pinned commit if absent")
    released_folder: str | None = Field(
        None, description="Folder with released checkpoints of your own, {key}.ckpt, taken before any download"
    )
    phantoms: Phantoms | None = Field(None, description="Make phantom archives instead (the demo)")
    official: bool = Field(
        True, description="Whether these are the official archives: checksums and annotated boxes are then enforced"
    )
    description: str = Field(
        "images that are not the official archives'", description="What tables and figures call archives not official"
    )
    allow_missing: dict[AnyDataset, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict, description="Records of the split lists that may be missing, by dataset"
    )


class HubBackbone(_Settings):
    """Pretrained CLIPSeg from the Hugging Face hub, pinned."""

    source: Literal["hub"] = "hub"
    repository: str = "CIDAS/clipseg-rd64-refined"
    revision: str = "999e0328d9e10b484360c477313983f9afdd7050"


class FolderBackbone(_Settings):
    """A folder in transformers' format: config.json, model.safetensors and the tokenizer's files."""

    source: Literal["folder"]
    folder: str = Field(description="Path of the folder")


class PhantomBackbone(_Settings):
    """A tiny CLIPSeg that the workflow itself pretrains on text-prompted coloured shapes (the demo)."""

    source: Literal["phantom"]
    image_size: int = Field(64, multiple_of=16, ge=32, description="Side of the pretraining images, pixels")
    steps: int = Field(400, ge=1, description="Pretraining steps")
    batch_size: int = Field(16, ge=1, description="Images per pretraining step")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's peak learning rate in pretraining")
    seed: int = Field(7, ge=0, description="Seed of weights and shapes")


Backbone = Annotated[HubBackbone | FolderBackbone | PhantomBackbone, Field(discriminator="source")]


class Further(_Settings):
    """A family that asks a further question of the main table's methods, with runs of its own; null leaves it out."""

    variants: list[Name] | None = Field(None, min_length=1, description="Keys of `variants`; those of `main` if absent")
    datasets: list[Dataset] | None = Field(
        None,
        min_length=1,
        description="The study's datasets if absent; those that the study does not have are left out",
    )
    seeds: list[int] | None = Field(None, min_length=1, description="The study's seeds if absent")


class Transfer(Further):
    """The family that trains on each dataset and tests on all."""

    beside: list[AnyDataset] = Field([], description="Datasets to train and test on beside the study's")


class Tuning(Further):
    """The family that tries the same number of rates for each method, and trains each again with the best of them.

    ``seeds`` and ``datasets`` are those of the runs with the chosen rates.
    """

    variants: list[Name] = Field(min_length=1, description="Keys of `variants`: the methods")
    tried_on: list[Dataset] = Field(
        min_length=1,
        description="Datasets whose validation DSC decides, in the mean; those that the study does not have are left "
        "out",
    )
    factors: list[Annotated[float, Field(gt=0)]] = Field(
        [0.1, 0.3, 1.0, 3.0, 10.0],
        min_length=2,
        description="Learning rates to try, as multiples of the method's own (1, which must be among them); rates by "
        "part of the model are multiplied alike",
    )
    weight_decays: list[Annotated[float, Field(ge=0)]] | None = Field(
        None, min_length=1, description="Weight decays to try with each of these rates; the method's own if absent"
    )
    seed: int | None = Field(None, ge=0, description="Seed of the trials; the study's first if absent")


class Ablation(_Settings):
    """A family of variants that are compared; runs that another family shares are trained once."""

    title: str = Field(description="Heading of the table and figure")
    reference: Name = Field(description="Variant that the others are compared with")
    variants: list[Name] = Field(min_length=2, description="Keys of `variants`, in the order of the figure")
    datasets: list[Dataset] | None = Field(
        None,
        min_length=1,
        description="The study's if absent; those that the study does not have are left out",
    )
    seeds: list[int] | None = Field(None, min_length=1, description="Each variant's if absent")


class MoreSeeds(_Settings):
    """Further trainings of variants whose differences must be known more exactly, wherever two of them are compared."""

    variants: list[Name] = Field(min_length=1, description="Keys of `variants`")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1, description="Beside the study's")


class Evaluation(_Settings):
    """How a run is scored."""

    threshold: float = Field(0.5, gt=0, lt=1, description="Probability above which a pixel is foreground")
    batch_size: int = Field(32, ge=1, description="Images per forward pass")
    bootstrap_samples: int = Field(10_000, ge=100, description="Resamples for the 95% intervals over cases")
    margin: float = Field(1.0, gt=0, description="Differences surely below it count as equivalent, DSC points (0..100)")
    comparisons_reference: Name = Field("telescopic", description="Variant that all others are tested against")


class Regression(_Settings):
    """When a measured DSC counts as a reproduction of the reported one (pipeline.evaluation.judge_reproduction)."""

    n_theirs: int = Field(1, ge=1, description="Trainings behind each reported number; the paper does not say")
    resolution: float = Field(
        0.9, gt=0, description="Largest tolerance of a reproduced average, DSC points; of a dataset's row twice that"
    )
    must_reproduce: list[Name] = Field(["telescopic"], description="Variants whose verdicts must not be `differs`")


class Jobs(_Settings):
    """How jobs use the machine."""

    gpus: int | None = Field(
        None, ge=0, description="GPUs to use unless --resources gpu=N says; as many as there are if absent"
    )
    threads: int = Field(4, ge=1, description="CPU threads of one training or evaluation")
    memory_mb: int = Field(16_000, ge=500, description="Host memory that one training or evaluation is given")
    runs_per_gpu: int = Field(
        1,
        ge=1,
        description="Jobs side by side on each GPU of this machine. Without NVIDIA's MPS they take turns on it: that "
        "fills the gaps in which one job waits for the CPU, but kernels of two jobs never run at once; each needs its "
        "own memory",
    )
    portable: bool = Field(
        False, description="On a CPU, the same numbers on every x86-64 processor, in about twice the time"
    )
    warm_start: bool = Field(
        False,
        description="Start this machine's jobs from a process that has imported torch already; for many short ones",
    )


def _constrained(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


_OVERRIDES = {
    name: (_constrained(field) | None, Field(None, description=field.description))
    for name, field in TrainingSettings.model_fields.items()
}
_RATE = "AdamW's learning rate [tuned]; or `tuned`: the rates and weight decay that the family `tuning` chooses"
_OVERRIDES["learning_rate"] = (_OVERRIDES["learning_rate"][0] | Literal[TUNED], Field(None, description=_RATE))
# Every field of the training settings, each optional: what a variant does not set comes from the study.
TrainingOverrides: type[BaseModel] = create_model(
    "TrainingOverrides",
    __config__=ConfigDict(extra="forbid", frozen=True),
    __doc__="Training settings of one variant that differ from the study's.",
    **_OVERRIDES,
)


class Variant(_Settings):
    """An entry of ``variants``: what is trained, how and after what, and what tables and figures call it."""

    label: str | None = Field(None, description="Name in tables and figures; the key in `variants` if absent")
    training: TrainingOverrides = Field(  # type: ignore[valid-type]
        default_factory=TrainingOverrides, description="Training settings in which this variant differs from the study"
    )
    widths_from: Name | None = Field(
        None,
        description="Variant of uniform width from whose run on the same dataset with the same seed this one's widths "
        "by layer are learned, at the sum of its own schedule [studied]",
    )
    settings: Annotated[SerializeAsAny[KindSettings], BeforeValidator(parse_variant)]

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        """In config.yaml the settings of the kind stand beside the variant's own keys."""
        if not isinstance(value, Mapping):
            return value
        own = {key: value[key] for key in ("label", "training", "widths_from") if key in value}
        return own | {"settings": {key: item for key, item in value.items() if key not in own}}

    @property
    def module(self) -> str:
        """The module that defines the variant's kind."""
        return type(self.settings).__module__


_MODEL = ("settings", "widths_from")
"""What a variant is, beside how it is trained."""


def _given(entries: dict) -> dict:
    """Without those that are null, which have to be families of the repository's config.yaml."""
    given = {name: entry for name, entry in entries.items() if entry is not None}
    if len(given) < len(entries) and CONFIG.is_file():
        known = (yaml.load(CONFIG.read_text(encoding="utf-8"), sources.LOADER).get("ablations") or {}).keys() | given
        for name in entries.keys() - known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
            raise ValueError(f"{name} is no family that null could leave out; {hint}")
    return given


def _unique(name: str, values: list) -> None:
    twice = sorted({value for value in values if values.count(value) > 1}, key=str)
    if twice:
        raise ValueError(f"{name}: {', '.join(map(str, twice))} is listed more than once")


class Study(_Settings):
    """A whole study: what config.yaml holds."""

    results: str = Field("results", pattern=r"^[^{}\n]+$", description="Folder of all outputs")
    datasets: list[Dataset] = Field(min_length=1, description="Datasets to train and test on")
    split: Literal[SPLIT_VARIANTS] = Field(
        "published",
        description="Variant of the split lists: as published; deduplicated: without records that are repeated within "
        "a split or in a later one; leak_free: deduplicated, and related cases (of one patient or video sequence, near "
        "duplicates) in one split",
    )
    masks: Literal[CONVENTIONS] = Field(
        CORRECTED,
        description="Foreground of masks, in training and evaluation: levels from 128 on, or, as the reference's code "
        "reads them, above 0, which takes in the noise of JPEG masks (Kvasir-SEG, BKAI)",
    )
    image_size: int = Field(352, multiple_of=16, ge=32, description="Side of the model's input, pixels")
    archives: Archives = Field(default_factory=Archives)
    backbone: Backbone = Field(default_factory=HubBackbone)
    seeds: list[Annotated[int, Field(ge=0)]] = Field([41, 42, 43], min_length=1, description="One training each")
    more_seeds: MoreSeeds | None = Field(None, description="Further seeds of some variants")
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    variants: dict[Name, Variant] = Field(min_length=1, description="Everything that can be trained, by name")
    main: list[Name] = Field(min_length=1, description="Variants of the main table, in its order")
    ablations: Annotated[dict[Name, Ablation | None], AfterValidator(_given)] = Field(
        default_factory=dict, description="Families of variants, by name; null leaves one out"
    )
    transfer: Transfer | None = Field(None, description="The family of training on one dataset and testing on all")
    joint: Further | None = Field(None, description="The family of one training on all datasets against one on each")
    leaks: Further | None = Field(None, description="The family that compares the study's split with leak_free")
    test_time: Further | None = Field(
        None, description="Runs of the main table that are scored a second time, averaged with the mirror images"
    )
    tuning: Tuning | None = Field(None, description="The family that tunes the rates of all methods alike")
    evaluation: Evaluation = Field(default_factory=Evaluation)
    regression: Regression = Field(default_factory=Regression)
    jobs: Jobs = Field(default_factory=Jobs)

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        _unique("datasets", self.datasets)
        _unique("seeds", self.seeds)
        _unique("main", self.main)
        places = {"main": self.main}
        if self.more_seeds:
            _unique("more_seeds.variants", self.more_seeds.variants)
            _unique("more_seeds.seeds", self.more_seeds.seeds)
            places["more_seeds.variants"] = self.more_seeds.variants
        for name, ablation in self.ablations.items():
            _unique(f"ablations.{name}.variants", ablation.variants)
            _unique(f"ablations.{name}.seeds", ablation.seeds or [])
            _unique(f"ablations.{name}.datasets", ablation.datasets or [])
            places[f"ablations.{name}.variants"] = ablation.variants
            if ablation.reference not in ablation.variants:
                raise ValueError(f"ablations.{name}.reference: {ablation.reference!r} is not among its variants")
        if self.transfer:
            places["transfer.variants"] = self.transfer.variants or []
            _unique("transfer.beside", self.transfer.beside)
        for family in ("joint", "leaks", "tuning"):
            places[f"{family}.variants"] = getattr(getattr(self, family), "variants", None) or []
        if self.leaks and self.split == "leak_free":
            raise ValueError("leaks: the study's own split is leak_free; set leaks to null")
        for place, variants in places.items():
            for variant in variants:
                if variant not in self.variants:
                    raise ValueError(f"{place}: variant {variant!r} is unknown; allowed: {', '.join(self.variants)}")
        for variant in (self.test_time and self.test_time.variants) or []:
            if variant not in self.main:
                raise ValueError(f"test_time.variants: {variant!r} is not in main; allowed: {', '.join(self.main)}")
        for name, variant in self.variants.items():
            if variant.widths_from is None:
                continue
            first = self.variants.get(variant.widths_from)
            schedule = getattr(first.settings, "schedule", None) if first else None
            if schedule != "uniform" or variant.settings.kind != "telescopic":
                raise ValueError(
                    f"variants.{name}.widths_from: {variant.widths_from!r} must be a variant with schedule uniform, "
                    f"and {name!r} of kind telescopic"
                )
        self._check_tuning()
        if self.evaluation.comparisons_reference not in self.main:
            raise ValueError(
                f"evaluation.comparisons_reference: {self.evaluation.comparisons_reference!r} is not in main; "
                f"allowed: {', '.join(self.main)}"
            )
        if self.archives.phantoms and (self.archives.folder or self.archives.base_url or self.archives.official):
            raise ValueError(
                "archives: phantoms exclude folder and base_url, and are not official; set official: false"
            )
        return self

    def _check_tuning(self) -> None:
        tuning = self.tuning
        if tuning:
            _unique("tuning.variants", tuning.variants)
            _unique("tuning.factors", tuning.factors)
            if 1 not in tuning.factors:
                raise ValueError("tuning.factors: 1, the method's own rate, must be among them")
            for method in tuning.variants:
                training = self.training_of(method)
                if self.is_tuned(method):
                    raise ValueError(f"tuning.variants: {method!r} has the rates that this family chooses")
                if tuning.weight_decays and training.weight_decay not in tuning.weight_decays:
                    own = f"{training.weight_decay:g}, the own one of {method!r}"
                    raise ValueError(f"tuning.weight_decays: {own}, must be among them")
        for name in self.variants:
            if self.is_tuned(name) and self.method_of(name) is None:
                raise ValueError(
                    f"variants.{name}.training.learning_rate: tuned needs the family tuning with this model among its "
                    "variants and one of the study's datasets in tried_on"
                )

    def is_tuned(self, variant: str) -> bool:
        """Whether ``variant`` is trained with rates that the family ``tuning`` chooses."""
        return self.variants[variant].training.learning_rate == TUNED

    def method_of(self, variant: str) -> str | None:
        """The method of the family ``tuning`` that is the same model as ``variant``; None if there is none.

        Of several the one whose name it has, else the first.
        """
        if self.tuning is None or not set(self.tuning.tried_on) & set(self.datasets):
            return None
        model = {name: [getattr(entry, key) for key in _MODEL] for name, entry in self.variants.items()}
        same = [name for name in self.tuning.variants if model[name] == model[variant]]
        return next((name for name in same if variant == f"{name}_{TUNED}"), same[0] if same else None)

    def training_of(self, variant: str) -> TrainingSettings:
        """The training settings of ``variant``: the study's, with the variant's own on top.

        Where its rates are tuned, those that are not known yet are as of the study.
        """
        overrides = self.variants[variant].training.model_dump(exclude_none=True)
        if self.is_tuned(variant):
            del overrides["learning_rate"]
        return TrainingSettings.model_validate(merge(self.training.model_dump(), overrides))

    def seeds_of(self, variant: str) -> list[int]:
        """The seeds that ``variant`` is trained with: the study's, then its further ones."""
        more = self.more_seeds.seeds if self.more_seeds and variant in self.more_seeds.variants else []
        return list(dict.fromkeys([*self.seeds, *more]))

    def label(self, variant: str) -> str:
        """The name of ``variant`` in tables and figures."""
        return self.variants[variant].label or variant


def _keys_beside(parts: Sequence[str], variants: Any) -> Iterator[str]:
    """The keys that are allowed where the last of ``parts`` stands."""
    whole = schema()

    def resolved(nodes: list[dict]) -> Iterator[dict]:
        for node in nodes:
            if "$ref" in node:
                node = whole["$defs"][node["$ref"].rpartition("/")[2]]
            yield node
            yield from resolved([*node.get("anyOf", []), *node.get("oneOf", [])])

    nodes = list(resolved([whole]))
    for part in parts[:-1]:
        below = [node.get("properties", {}).get(part) or node.get("additionalProperties") for node in nodes]
        nodes = list(resolved([node for node in below if isinstance(node, dict)]))
        if parts[:1] == ["variants"] and part == parts[1]:
            kind = variants[part]["kind"]
            nodes = [node for node in nodes if node.get("properties", {}).get("kind", {}).get("const") == kind]
    for node in nodes:
        yield from node.get("properties", {})


def _readable(error: ValidationError, config: Mapping[str, Any]) -> str:
    lines = []
    for item in error.errors():
        parts = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
        if parts[:1] == ["variants"] and parts[2:3] == ["settings"]:
            del parts[2]  # in config.yaml they stand in the variant's entry itself
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(parts[-1], {*_keys_beside(parts, config.get("variants"))}, 1)
            message = f"no such key (value: {item['input']!r}){f'; did you mean {near[0]}?' if near else ''}"
        elif item["type"] == "missing":
            message = "is missing; give it a value"
        elif item["type"] != "value_error":
            message = f"{message} (value: {item['input']!r})"
        lines.append(f"  {'.'.join(parts)}: {message}" if parts else f"  {message}")
    return "\n".join(lines)


def _typed(value: Any) -> Any:
    """``value`` with nothing for the word null: Snakemake's ``--config`` hands over every scalar as text."""
    if isinstance(value, Mapping):
        return {key: _typed(item) for key, item in value.items()}
    return None if value == "null" else value


def load_study(config: Mapping[str, Any]) -> Study:
    """Validate a configuration as Snakemake hands it over (config.yaml with overlays merged in).

    Raises:
        PipelineError: names each offending key, its value and what is allowed.
    """
    try:
        return Study.model_validate(_typed(json.loads(json.dumps(config))))
    except ValidationError as error:
        hint = "allowed keys and values: workflow/schemas/config.schema.json"
        raise PipelineError(f"the configuration is not valid\n{_readable(error, config)}\n  {hint}") from None


def schema() -> dict[str, Any]:
    """The JSON schema of config.yaml, every registered variant kind included."""
    result = Study.model_json_schema()
    definitions = result["$defs"]
    shared = definitions.pop("Variant")["properties"]
    del shared["settings"]
    choices = []
    for name, settings in kinds().items():
        own = settings.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(own.pop("$defs", {}))
        own["required"] = sorted({*own.get("required", []), "kind"})
        own["properties"] = own["properties"] | shared | {"kind": {"const": name, "type": "string"}}
        definitions[settings.__name__] = own
        choices.append({"$ref": f"#/$defs/{settings.__name__}"})
    definitions.pop("KindSettings", None)
    variants = result["properties"]["variants"]
    variants["additionalProperties"] = {"oneOf": choices}
    for pattern in variants.get("patternProperties", {}):
        variants["patternProperties"][pattern] = {"oneOf": choices}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result}


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """``overlay`` over ``base``, mappings merged key by key as Snakemake's ``--configfile`` does."""
    result = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


def read_study(*paths: str | Path) -> Study:
    """Read config.yaml and its overlays, later ones over earlier ones; keys in the order that Snakemake gives them."""
    base: dict[str, Any] = {}
    overlays: dict[str, Any] = {}
    families: set[str] = set()
    for index, path in enumerate(paths):
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            fix = "give the path of a YAML file (Snakemake's targets stand before --configfile)"
            raise PipelineError(f"{path}: cannot be read ({error.strerror}); {fix}") from None
        except UnicodeDecodeError:
            raise PipelineError(f"{path}: is no text in UTF-8; give the path of a YAML file") from None
        except yaml.YAMLError as error:
            raise PipelineError(f"{path}: not valid YAML; correct it, without tabs: {error}") from None
        if not isinstance(content, Mapping):
            raise PipelineError(f"{path}: has no keys at its top level; write `key: value`, or leave the file out")
        if isinstance(ablations := content.get("ablations"), Mapping):
            families |= {name for name, entry in ablations.items() if entry is not None}
        if index == 0:
            base = dict(content)
        else:
            overlays = merge(overlays, content)
    config = merge(merge(overlays, base), overlays)
    if isinstance(ablations := config.get("ablations"), Mapping):
        kept = {name: entry for name, entry in ablations.items() if entry is not None or name not in families}
        config["ablations"] = kept
    if not {"variants", "main"} <= config.keys():
        raise PipelineError(f"{paths[0]}: is no whole study (it lacks variants or main); name config.yaml before it")
    return load_study(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("schema", help="write the JSON schema")
    write.add_argument("output")
    write_json(parser.parse_args().output, schema())


if __name__ == "__main__":
    run_command(main)

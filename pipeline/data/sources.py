"""The table of datasets (workflow/resources/datasets.yaml), typed.

To add a dataset, add an entry to the table: archives, the patterns of its image and mask files, its split lists. Code
is needed only where its masks mark the foreground in a way that no kind in :mod:`pipeline.data.masks` reads.
"""

import bisect
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.runtime.errors import PipelineError

TABLE = Path(__file__).parents[2] / "workflow" / "resources" / "datasets.yaml"
SPLITS = ("train", "val", "test")
SPLIT_VARIANTS = ("published", "deduplicated", "leak_free")
JOINT = "joint"
"""In place of a dataset: several ones together, for training (:mod:`pipeline.data.joint`)."""
LEAK_FREE = "_leak_free"
"""Ending of the name of a dataset whose split is leak_free whatever the study's is (:mod:`pipeline.data.leak_free`)."""
# Every step reads the table; libyaml does it ten times faster, where PyYAML was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Pattern = Annotated[str, AfterValidator(_pattern)]
BySplit = dict[Literal["train", "val", "test"], int]


class Facts(BaseModel):
    """An entry of a table of facts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Kaggle(Facts):
    """A source on Kaggle, which needs the user's credentials (and, for a competition, acceptance of its rules)."""

    kind: Literal["competition", "dataset"]
    handle: str = Field(description="competition, or owner/dataset")

    @property
    def folder(self) -> str:
        """Name of the folder that its files are downloaded into; with .zip, that of the file one downloads by hand."""
        return self.handle.rpartition("/")[2]

    @property
    def page(self) -> str:
        """Address of its page, for downloading by hand."""
        return f"https://www.kaggle.com/{self.kind}s/{self.handle}"


class Layout(Facts):
    """Which members of an archive are images and masks: patterns searched for in a member's path.

    Their named groups fill the dataset's ``case`` and ``group``. Several masks of one case are merged.
    """

    image: Pattern | None = None
    mask: Pattern | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> "Layout":
        if self.image is None and self.mask is None:
            raise ValueError("a layout needs a pattern for image, mask or both")
        return self


class Archive(Facts):
    """One archive file and its sources."""

    name: str = Field(description="Official file name")
    alternatives: list[str] = Field([], description="Other file names in use, possibly with other layouts")
    url: str | None = None
    kaggle: Kaggle | None = None
    sha256: Sha256 | None = Field(None, description="Of the file called `name`, where it is known")
    layouts: list[Layout] = Field(min_length=1, description="The first one that the archive's members match is used")

    @property
    def names(self) -> tuple[str, ...]:
        """All file names, the official one first."""
        return (self.name, *self.alternatives)


class Annotations(Facts):
    """Split lists: ``{folder}/{split}.json`` in a folder of the user's, else ``data/{folder}/anns/{split}.json`` at the
    pinned commit."""

    folder: str
    sha256: dict[Literal["train", "val", "test"], Sha256] = Field(
        {}, description="Of the pinned lists; none of own ones"
    )


class MadeLists(Facts):
    """Split lists that are made from the dataset's own masks; see pipeline.data.own_lists."""

    target: str = Field(pattern=r"\S", description="What masks mark, as prompts call it: polyp")
    organ: str = Field("", description="Where it is, as prompts call it: colon")
    val: float = Field(0.1, gt=0, lt=1, description="Share of the cases that validate")
    test: float = Field(0.2, gt=0, lt=1, description="Share of the cases that test")
    seed: int = Field(41, description="Decides which; cases of one `subject` stay together")

    @model_validator(mode="after")
    def _some_train(self) -> "MadeLists":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave no case for training")
        return self


class Dataset(Facts):
    """One dataset: its name in tables and figures, its source, its archives and its split lists."""

    title: str = Field(description="Display name, everywhere")
    version: str
    homepage: str
    licence: str
    citation: str
    archives: list[Archive] = Field(min_length=1)
    case: str = Field("{case}", description="Case as the split lists name it, from the patterns' groups")
    group: str = Field("", description="Class of a case, from the patterns' groups")
    mask_kind: str = Field("grey", description="How masks mark the foreground; see pipeline.data.masks")
    subject: str = Field("", description="Patient of a case, from the patterns' groups")
    sequences: list[int] = Field(
        [], description="First frames of the video sequences, ascending; cases are then numbered frames"
    )
    annotations: Annotations | None = Field(
        None,
        description="Split lists, published or of one's own; a dataset without lists is for the transfer family alone",
    )
    lists: MadeLists | None = Field(None, description="In their place: how split lists are made from the masks")
    records: BySplit | None = Field(None, description="Records of each published list")
    contrast: float | None = Field(
        None, description="Mean difference of grey level inside and outside of masks; see pipeline.data.alignment"
    )
    same_pixels: list[tuple[str, str]] = Field(
        [], description="Pairs of cases with the same image that the publishers gave different masks or classes"
    )

    @model_validator(mode="after")
    def _lists_once(self) -> "Dataset":
        if self.annotations and self.lists:
            raise ValueError("give annotations (lists that exist) or lists (how to make them), not both")
        return self

    @model_validator(mode="after")
    def _names_from_groups(self) -> "Dataset":
        for pattern in (p for a in self.archives for layout in a.layouts for p in (layout.image, layout.mask) if p):
            groups = dict.fromkeys(re.compile(pattern).groupindex, "")
            try:
                self.case.format_map(groups), self.group.format_map(groups), self.subject.format_map(groups)
            except (KeyError, ValueError, IndexError, AttributeError) as error:
                raise ValueError(f"case, group and subject need named groups that {pattern!r} lacks: {error}") from None
        return self

    def subject_of(self, case: str, groups: Mapping[str, str]) -> str:
        """The patient or video sequence that ``case`` shows, as the dataset's own records say; "" if they do not.

        ``groups`` are those of the pattern that its file matched.
        """
        if self.sequences:
            return f"sequence {bisect.bisect(self.sequences, int(case))}"
        return self.subject.format_map(groups)


class AnnotationSource(Facts):
    """Where the split lists come from."""

    url: str = Field(description="Root of the repository at the pinned commit")
    licence: str


class Table(Facts):
    """The whole table."""

    annotations: AnnotationSource
    datasets: dict[Key, Dataset]

    @model_validator(mode="after")
    def _names_are_free(self) -> "Table":
        for name in self.datasets:
            if name == JOINT or name.endswith(LEAK_FREE):
                raise ValueError(f"the name {name!r} stands for datasets made of others; choose another")
        return self


Content = TypeVar("Content")


def read_facts(path: Path, check: Callable[[Any], Content]) -> Content:
    """A YAML file of facts.

    Args:
        check: a pydantic model's ``model_validate``, or a type adapter's ``validate_python``.

    Raises:
        PipelineError: names the key that is not valid.
    """
    try:
        return check(yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER))
    except ValidationError as error:
        found = [
            (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")) for item in error.errors()
        ]
        reason = "; ".join(f"{key}: {message}" if key else message for key, message in found)
    except (OSError, UnicodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
    raise PipelineError(f"{path}: cannot be used; correct it: {reason}")


@functools.cache
def table() -> Table:
    """Read and check the table once."""
    return read_facts(TABLE, Table.model_validate)


def origin(name: str) -> str:
    """The dataset whose archives and lists ``name`` is made from: "busi" for "busi_leak_free"."""
    return name.removesuffix(LEAK_FREE)


def dataset_facts(name: str) -> Dataset:
    """The entry of dataset ``name``; of "busi_leak_free" that of "busi" under another title.

    Raises:
        PipelineError: there is none; the message lists those there are.
    """
    facts = table().datasets.get(origin(name))
    if facts is None:
        raise PipelineError(
            f"dataset {name!r} is unknown; known (workflow/resources/datasets.yaml): {list(table().datasets)}"
        )
    return facts if name == origin(name) else facts.model_copy(update={"title": f"{facts.title}, leak-free"})


def __getattr__(name: str) -> tuple[str, ...]:
    """``DATASETS``, those with split lists, of which a study can be, and ``ALL_DATASETS``.

    They are read when first used, so that a mistake in the table is reported and not raised by an import.
    """
    if name == "ALL_DATASETS":
        return tuple(table().datasets)
    if name == "DATASETS":
        return tuple(dataset for dataset, facts in table().datasets.items() if facts.annotations or facts.lists)
    raise AttributeError(name)

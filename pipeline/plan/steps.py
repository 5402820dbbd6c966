"""What a step of the plan is: a command, what it is made from, what it makes, and where the report shows that."""

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Entry:
    """Where Snakemake's report shows a result. One label: of a second one with two values it makes a broken switch."""

    category: str
    labels: Mapping[str, str]
    caption: str
    subcategory: str | None = None


@dataclass(frozen=True)
class Source:
    """What a step is made from; ``a | b`` joins two.

    Attributes:
        inputs: files by the option that names them.
        reads: files that the module finds by itself, below the results folder.
        options: other options; None leaves one out, what is neither text nor number is given as JSON.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    reads: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: "Source") -> "Source":
        return Source({**self.inputs, **other.inputs}, [*self.reads, *other.reads], {**self.options, **other.options})


@dataclass(frozen=True)
class Step:
    """A file or set of files that one command makes from scores, facts and other steps' files.

    Attributes:
        name: of its rule and its log.
        module: run with ``python -m``; ``subcommand`` is its first argument, if it has any.
        outputs: the files by kind.
        output: value of ``--output``.
        entry: where the report shows it, if it does.
        on_request: whether ``snakemake all`` leaves it out.
    """

    name: str
    module: str
    source: Source
    outputs: Mapping[str, str]
    output: str
    entry: Entry | None = None
    on_request: bool = False
    subcommand: str | None = None

    def arguments(self, locate: Callable[[str], str] = str) -> list[str]:
        """The command line after ``python -m MODULE``; ``locate`` may move inputs and the output elsewhere."""
        values = {name: locate(path) for name, path in self.source.inputs.items()}
        values |= {name: _text(value) for name, value in self.source.options.items() if value is not None}
        values["output"] = locate(self.output)
        words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]
        return [self.subcommand, *words] if self.subcommand else words

    def command(self) -> str:
        """The arguments as a shell reads them."""
        return shlex.join(self.arguments())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else compact(value)


def compact(value: Any) -> str:
    """``value`` as JSON on one line, for command lines and for the rerun trigger on parameters."""
    return json.dumps(value, separators=(",", ":"))


def files(folders: Iterable[str], *names: str) -> list[str]:
    """The files of these names in each of ``folders``."""
    return [f"{folder}/{name}" for folder in folders for name in names]

"""The table of cases of a standardised dataset: cases.csv, one row per record of the split lists."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline.data.splits import Prompts
from pipeline.runtime.atomic import write_text
from pipeline.runtime.errors import PipelineError


@dataclass(frozen=True)
class Case:
    """A row of cases.csv. ``width``, ``height`` in pixels; ``foreground`` counts the mask's foreground pixels.

    ``reference_mask_sha256`` is that of the mask as the reference reads it (masks_reference/), empty where it is the
    same. ``subject`` is the patient or video sequence, where the dataset's own records tell it.
    """

    case: str
    split: str
    image: str
    width: int
    height: int
    foreground: int
    image_sha256: str
    mask_sha256: str
    reference_mask_sha256: str
    bbox: list[int] | None
    group: str
    subject: str
    prompts: Prompts

    @property
    def mask(self) -> str:
        """File name in masks/, and in masks_reference/ if it is there."""
        return f"{self.case}.png"


EXAMPLES = 5
"""Cases that an error message names."""
TEXTS = ("case", "split", "image", "image_sha256", "mask_sha256", "reference_mask_sha256", "group", "subject")
COLUMNS = [field.name for field in fields(Case)]


def examples(items: Sequence[str], separator: str = ", ") -> str:
    """The first few of ``items``, for a message."""
    more = f" and {len(items) - EXAMPLES} more" if len(items) > EXAMPLES else ""
    return separator.join(items[:EXAMPLES]) + more


def write_cases(path: str | Path, cases: Iterable[Case]) -> None:
    """Write cases.csv atomically; boxes and prompts as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for case in cases:
        bbox = "" if case.bbox is None else json.dumps(list(case.bbox))
        writer.writerow(vars(case) | {"bbox": bbox, "prompts": json.dumps(case.prompts)})
    write_text(path, text.getvalue())


def read_cases(path: str | Path) -> list[Case]:
    """Read cases.csv.

    Raises:
        PipelineError: it is missing or not in this format.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [
            Case(
                **{key: row[key] for key in TEXTS},
                **{key: int(row[key]) for key in ("width", "height", "foreground")},
                bbox=json.loads(row["bbox"]) if row["bbox"] else None,
                prompts=json.loads(row["prompts"]),
            )
            for row in rows
        ]
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror}); standardise the dataset again") from None
    except (KeyError, TypeError, ValueError, csv.Error, RecursionError) as error:
        raise PipelineError(f"{path}: not a table of cases ({error!r}); standardise the dataset again") from None

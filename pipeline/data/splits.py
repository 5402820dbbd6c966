"""The split lists: records of train, val and test with boxes and prompts, published or deduplicated."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.sources import SPLITS
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError

MAX_NAME_BYTES = 200
MAX_PROMPTS_BYTES = 20_000
"""Of a record's prompts as JSON; Python's csv module reads cells of up to 131,072 characters, escapes included."""
AS_JSON = json.JSONEncoder(ensure_ascii=False).encode
FIX = "fetch the split lists again"

Prompts = dict[str, str | list[str]]


@dataclass(frozen=True)
class Record:
    """One entry of a split list.

    Attributes:
        case: stem of the image's name, which files are matched on.
        bbox: annotated box, pixels of the original image, or None where the list has none.
        prompts: p0.., each a string or strings to draw from.
    """

    case: str
    split: str
    bbox: tuple[int, int, int, int] | None
    prompts: Prompts


def _record(path: Path, index: int, entry: Any, split: str) -> Record:
    try:
        name, prompts, bbox = entry["img_name"], entry["prompts"], entry.get("bbox")
        if not isinstance(name, str) or not Path(name).stem or Path(name).name != name or not name.isprintable():
            raise ValueError("img_name must be a plain file name")
        if len(name.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"img_name is longer than {MAX_NAME_BYTES} bytes")
        if not isinstance(prompts, dict) or not prompts:
            raise ValueError("prompts must be an object of p0, p1 and so on")
        for key, value in prompts.items():
            strings = value if isinstance(value, list) else [value]
            if not strings or not all(isinstance(string, str) for string in strings):
                raise ValueError(f"prompts.{key} must be a string or a list of strings")
        # Encoding raises an error for a lone surrogate, which JSON can hold and no file.
        if len(AS_JSON(prompts).encode()) > MAX_PROMPTS_BYTES:
            raise ValueError(f"prompts are longer than {MAX_PROMPTS_BYTES} bytes")
        if bbox is not None and (len(bbox) != 4 or not all(isinstance(value, int) for value in bbox)):
            raise ValueError("bbox must be four integers")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PipelineError(f"{path}: entry {index} is not valid: {error}; {FIX}") from None
    return Record(Path(name).stem, split, tuple(bbox) if bbox is not None else None, prompts)


def read_split_lists(folder: str | Path) -> list[Record]:
    """The records of ``folder``/{train,val,test}.json, train first, in the order of the lists.

    Raises:
        PipelineError: a list is missing or not in the format of github.com/naamiinepal/medvlsm.
    """
    records = []
    for split in SPLITS:
        path = Path(folder) / f"{split}.json"
        entries = read_json(path, list, FIX)
        if not entries:
            raise PipelineError(f"{path}: has no records; {FIX}")
        records += [_record(path, index, entry, split) for index, entry in enumerate(entries)]
    return records


def deduplicate(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Leave out of train and val what a later split has too, and repetitions within a split.

    The later split keeps its case: a test set stays the published one.

    Args:
        records: train first, as :func:`read_split_lists` gives them.

    Returns:
        the records that stay, in their order, and those left out.
    """
    last = {record.case: record.split for record in records}
    kept, dropped, seen = [], [], set()
    for record in records:
        if record.split != last[record.case] or record.case in seen:
            dropped.append(record)
        else:
            seen.add(record.case)
            kept.append(record)
    return kept, dropped


def repeated(records: Sequence[Record]) -> dict[str, list[str]]:
    """Cases that are listed more than once, and the splits that list them."""
    counts = Counter(record.case for record in records)
    return {case: [r.split for r in records if r.case == case] for case, count in counts.items() if count > 1}

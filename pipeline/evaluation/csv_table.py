"""Read a CSV, with errors that name the file and how to fix it."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.runtime.errors import PipelineError


def read_table(
    path: str | Path,
    columns: Sequence[str],
    unique: Sequence[str] = (),
    as_text: bool = False,
    fix: str = "delete the file and run its rule again",
) -> pd.DataFrame:
    """Read a CSV that has at least ``columns``; other columns are kept.

    Args:
        unique: Columns that together identify a row.
        as_text: Keep each cell as it is written.
        fix: What to do about a file that cannot be used.

    Raises:
        PipelineError: the file is missing, empty, not CSV, lacks a column, or lists a row more than once.
    """
    try:
        table = pd.read_csv(path, **({"dtype": str, "keep_default_na": False} if as_text else {}))
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file; run the rule that makes it, or correct the path") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: not a readable CSV ({error}); {fix}") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise PipelineError(
            f"{path}: column {', '.join(missing)} is missing (found: {', '.join(map(str, table.columns))}); {fix}"
        )
    repeated = table[table.duplicated(list(unique))] if unique else table[:0]
    if len(repeated):
        row = "/".join(str(repeated[column].iloc[0]) for column in unique)
        raise PipelineError(f"{path}: {row} is listed more than once; {fix}")
    return table

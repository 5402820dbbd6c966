"""Options of command lines that hold more than one word."""

import json
from collections.abc import Callable
from typing import Any

from pipeline.runtime.errors import PipelineError


def json_value(option: str, kind: type[list] | type[dict]) -> Callable[[str], Any]:
    """An argparse type: JSON text of type ``kind``.

    Raises:
        PipelineError: from the returned function: the text is not JSON, or of another type; the message names
            ``option``.
    """

    def parse(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise PipelineError(f"{option}: not valid JSON ({error}): {text[:80]!r}") from None
        if not isinstance(value, kind):
            raise PipelineError(f"{option}: must be a JSON {'object' if kind is dict else 'list'}, got {text[:80]!r}")
        return value

    return parse

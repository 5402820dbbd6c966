"""Progress as a bar on a terminal and as plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LOG_INTERVAL_SECONDS = 10.0


def log(message: str) -> None:
    """Print one line at once, beside a running bar if there is one."""
    tqdm.write(message, file=sys.stderr)
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """``75.2`` as ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over ``items`` with a bar on a terminal, else a line at most every ten seconds and one at the end."""
    total = len(items) if total is None and hasattr(items, "__len__") else total
    if sys.stderr.isatty():
        yield from tqdm(items, desc=description, total=total, leave=False)
        return
    start = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= LOG_INTERVAL_SECONDS:
            last = now
            left = f", {duration((now - start) / count * (total - count))} left" if total else ""
            log(f"{description}: {count}{f' of {total}' if total else ''}{left}")
    log(f"{description}: {count} done in {duration(time.monotonic() - start)}")

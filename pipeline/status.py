"""Follow a study from its files, wherever Snakemake runs it: trainings done, running, waiting and failed.

    python -m pipeline status [config.yaml overlay.yaml ...] [--watch]

Done means that a run's files are there, not that Snakemake would leave them as they are. The time left is estimated
from the trainings that are done, and from how many run side by side.
"""

import argparse
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from pipeline.config import read_study
from pipeline.plan import Plan
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.progress import duration

EPOCH = re.compile(r"epoch (\d+)/(\d+) .*val DSC ([\d.]+)")
SILENT_EPOCHS, SILENT_SECONDS = 5, 600
"""A training that wrote nothing for so many of its epochs, and seconds at least, is taken as stopped."""
TAIL_BYTES = 20_000
SHOWN = 20
WATCH_SECONDS = 10


class Running(NamedTuple):
    """A training that writes its log: the last epoch in it (0 before the first one), of how many, its validation DSC
    (0..1), and the seconds that are left at most; None before the first epoch."""

    epoch: int
    epochs: int | None
    dsc: float | None
    left: float | None


class Status(NamedTuple):
    """Trainings by state, by their names (dataset/variant/seedN), and seconds that the study needs still."""

    done: list[str]
    running: dict[str, Running]
    waiting: list[str]
    failed: dict[str, str]
    left: float | None


def _tail(log: Path) -> list[str]:
    """The last lines of a log that hold anything; none where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def error_line(lines: Sequence[str]) -> str | None:
    """The error that a log ends with, in one line; None if it ends with none."""
    if not lines:
        return None
    if lines[-1].startswith("error: "):
        return lines[-1]
    raised = any(line.startswith("Traceback (most recent call last)") for line in lines)
    return lines[-1] if raised and re.match(r"[\w.]+(Error|Exception|Interrupt)\b", lines[-1]) else None


def failures(results: Path, since: float = 0.0) -> Iterator[tuple[Path, str]]:
    """The logs below ``results`` that end with an error, and its last line; with ``since`` those written after it."""
    for log in sorted((results / "logs").rglob("*.log")):
        if log.stat().st_mtime >= since and (line := error_line(_tail(log))):
            yield log, line


def _running(log: Path, lines: Sequence[str], now: float) -> Running | None:
    """What a log says of a training that goes on; None if it is silent for too long."""
    silent, found = now - log.stat().st_mtime, next(filter(None, map(EPOCH.search, reversed(lines))), None)
    if found is None:
        return Running(0, None, None, None) if silent < SILENT_SECONDS else None
    epoch, epochs, left = int(found[1]), int(found[2]), seconds_left(found.string)
    pace = (left or 0) / max(1, epochs - epoch)
    return Running(epoch, epochs, float(found[3]), left) if silent < max(SILENT_SECONDS, SILENT_EPOCHS * pace) else None


def seconds_left(line: str) -> float | None:
    """The seconds in "at most 1 h 12 min left" at the end of a line; None if it has none."""
    found = re.search(r"at most (?:(\d+) h )?(?:(\d+) min ?)?(?:(\d+) s )?left$", line)
    if found is None:
        return None
    return sum(int(part or 0) * size for part, size in zip(found.groups(), (3600, 60, 1), strict=True))


def _estimate(plan: Plan, names: Sequence[str], seconds: dict[str, float]) -> float:
    """Seconds of the trainings ``names``, each as the mean of those done on its dataset, or else of all."""
    by_dataset: dict[str, list[float]] = {}
    for name, value in seconds.items():
        by_dataset.setdefault(name.split("/")[0], []).append(value)
    mean = fmean(seconds.values())
    return sum(fmean(by_dataset.get(name.split("/")[0], [mean])) for name in names)


def read_status(plan: Plan, now: float) -> Status:
    """The state of all trainings of ``plan`` at the time ``now`` (seconds since 1970)."""
    results = Path(plan.study.results)
    status, seconds = Status([], {}, [], {}, None), {}
    for run in sorted({run for group in plan.groups for run in plan.trainings(group)}):
        name, folder = "{}/{}/seed{}".format(*run), Path(plan.run_folder(*run))
        log = results / f"logs/train/{name}.log"
        if (folder / "manifest.json").is_file() and (folder / "weights.safetensors").is_file():
            status.done.append(name)
            try:
                seconds[name] = float(read_json(folder / "manifest.json", dict, "").get("wall_seconds", 0))
            except PipelineError:
                continue
            continue
        lines = _tail(log)
        if error := error_line(lines):
            status.failed[name] = error
        elif lines and (going := _running(log, lines, now)):
            status.running[name] = going
        else:
            status.waiting.append(name)
    if not seconds:
        return status
    rest = _estimate(plan, [*status.waiting, *status.failed], seconds)
    rest += sum(going.left if going.left is not None else fmean(seconds.values()) for going in status.running.values())
    return status._replace(left=rest / max(1, len(status.running)))


def text(plan: Plan, status: Status) -> str:
    """``status`` to be read, with the errors of other steps."""
    results = Path(plan.study.results)
    counts = [f"{len(status.running)} running", f"{len(status.waiting)} waiting", f"{len(status.failed)} failed"]
    whole = len(status.done) + len(status.running) + len(status.waiting) + len(status.failed)
    line = f"{results}: {len(status.done)} of {whole} trainings done, {', '.join(counts)}"
    if status.left:
        line += f"; about {duration(status.left)} left"
    lines = [line]
    if status.running:
        width = max(map(len, status.running))
        lines += ["", f"{'running':{width}}  epoch    val DSC  left, at most"]
        for name, going in status.running.items():
            epoch = f"{going.epoch}/{going.epochs}" if going.epochs else "starting"
            dsc = "" if going.dsc is None else f"{100 * going.dsc:.1f}"
            left = "" if going.left is None else duration(going.left)
            lines.append(f"{name:{width}}  {epoch:8} {dsc:>7}  {left}".rstrip())
    found = [(f"{log}", error) for log, error in failures(results)]
    if found:
        lines += ["", "failed"]
        lines += [f"{log}: {error}" for log, error in found[:SHOWN]]
        lines += [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline status", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", help="config.yaml, then overlays", default=["config.yaml"])
    parser.add_argument("--watch", action="store_true", help=f"again every {WATCH_SECONDS} seconds, until Ctrl-C")
    arguments = parser.parse_args()
    plan = Plan(read_study(*arguments.files))
    while True:
        shown = text(plan, read_status(plan, time.time()))
        # Escape codes: the cursor to the top left corner, and what is below away.
        print(f"\033[H\033[J{shown}" if arguments.watch else shown, flush=True)
        if not arguments.watch:
            return
        try:
            time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    run_command(main)

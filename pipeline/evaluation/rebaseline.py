"""Write a new baseline from a finished demo: ``tests/regression/demo.json``. Refuses uncommitted changes.

python -m pipeline.evaluation.rebaseline --dsc results/portable/dsc.csv --output tests/regression/demo.json
"""

import argparse
import subprocess

from pipeline.evaluation.baseline import observe_all
from pipeline.runtime.atomic import write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import versions


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise PipelineError("git is not installed; a baseline names the commit it was made from") from None
    except subprocess.CalledProcessError as error:
        raise PipelineError(
            f"git {' '.join(arguments)}: {error.stderr.strip()}; run this in a clone of the repository"
        ) from None
    return done.stdout.rstrip()


def clean_commit() -> str:
    """The commit that the working tree is at.

    Raises:
        PipelineError: there are changes or untracked files, so that no commit has the code the results came from.
    """
    changes = _git("status", "--porcelain").splitlines()
    if changes:
        shown = "\n".join(f"  {line}" for line in changes[:10])
        more = f"\n  and {len(changes) - 10} more" if len(changes) > 10 else ""
        raise PipelineError(f"the working tree has uncommitted changes; commit them first\n{shown}{more}")
    return _git("rev-parse", "HEAD")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsc", required=True, help="dsc.csv; the runs lie in runs/ beside it")
    parser.add_argument("--tolerance", type=float, default=1.0, help="largest difference of a run's DSC, points")
    parser.add_argument("--loss-tolerance", type=float, default=1e-3, help="largest relative difference of a loss")
    parser.add_argument("--output", required=True, help="the baseline to write")
    arguments = parser.parse_args()
    commit = clean_commit()
    runs = observe_all(arguments.dsc)
    for run in runs:
        if run["mode"] != "portable":
            raise PipelineError(
                f"{arguments.dsc}: {run['dataset']}/{run['variant']}/seed{run['seed']} was computed in mode "
                f"{run['mode']!r}, whose numbers other processors do not give again; set jobs.portable to true "
                "(workflow/config/portable.yaml), and run again"
            )
    record = {
        "commit": commit,
        "versions": versions(),
        "tolerance": arguments.tolerance,
        "loss_tolerance": arguments.loss_tolerance,
        "runs": runs,
    }
    write_json(arguments.output, record)


if __name__ == "__main__":
    run_command(main)

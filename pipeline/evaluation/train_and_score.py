"""Train a run and score it in the same process, which has all of it loaded: no second start, no second load.

The scores are kept beside the run's state. The rule that scores takes them if they are what it would compute, and
computes them itself otherwise, for instance after an edit of a metric.
"""

import argparse

from pipeline.data.sources import JOINT
from pipeline.evaluation import kept, score_run
from pipeline.models.interface import SegmentationModel
from pipeline.models.preprocessing import load_tokenizer
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.options import json_value
from pipeline.runtime.progress import log
from pipeline.training import train
from pipeline.training.determinism import set_mode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    train.add_options(parser)
    parser.add_argument(
        "--scoring", type=json_value("--scoring", dict), required=True, help="settings of evaluation, JSON"
    )
    arguments = vars(parser.parse_args())
    scoring = arguments.pop("scoring")
    arguments = train.checked(arguments)
    run = arguments["output"]
    as_the_rule_does = {
        "tensors": arguments["tensors"],
        "backbone": arguments["backbone"],
        "weights": run / "weights.safetensors",
        "prompt_type": arguments["settings"].prompt_type,
        "threads": arguments["threads"],
        **{name: run / f"{name}.csv" for name in ("per_prompt", "calibration", "thresholds")},
        "output": run / "per_case.csv",
        **scoring,
    }
    words = [word for name, value in as_the_rule_does.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    options = score_run.parser().parse_args(words)

    def score(segmenter: SegmentationModel, device: str) -> None:
        set_mode(device, deterministic=True, threads=options.threads)
        try:
            tables = score_run.score(segmenter.eval(), load_tokenizer(options.backbone), options)
        except PipelineError as error:
            log(f"not scored here: {error}")
            return
        kept.keep(arguments["state"], options, tables)

    # A joint run is scored on each of its datasets, by another rule, and a trial on none.
    elsewhere = arguments["trial"] or arguments["tensors"].name == JOINT
    train.train_run(**arguments, then=None if elsewhere else score)


if __name__ == "__main__":
    run_command(main)

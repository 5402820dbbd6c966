"""python -m pipeline predict: segment images of one's own with a trained run or a released checkpoint."""

import argparse
import sys

from pipeline.runtime.errors import run_command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    parser.add_argument("command", choices=["predict"], help="its options: python -m pipeline predict --help")
    parser.parse_args(sys.argv[1:2])
    # Not at the top: --help and a mistyped command need neither torch nor transformers.
    from pipeline.evaluation.predict import main as predict

    sys.argv[:2] = ["python -m pipeline predict"]
    predict()


if __name__ == "__main__":
    run_command(main)

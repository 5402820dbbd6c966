"""The commands for users of the pipeline."""

import argparse
import importlib
import sys

from pipeline.runtime.errors import run_command

# Command: its module, imported when it is called (--help of this table needs no torch), and what it is for.
COMMANDS = {
    "check": ("pipeline.check", "check a configuration, and that each of its variants can be built"),
    "status": ("pipeline.status", "follow a study: trainings done, running, waiting and failed, and the time left"),
    "predict": ("pipeline.inference.predict", "segment images of your own with a trained run or a released checkpoint"),
    "crate": ("pipeline.crate", "write a finished study as a Workflow Run RO-Crate"),
    "export": (
        "pipeline.inference.export",
        "write a trained run for the Hugging Face hub, with a model card",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s COMMAND [OPTION ...]",
        description="\n".join(f"{command:8} {purpose}" for command, (_, purpose) in COMMANDS.items()),
        epilog="Options of a command: python -m pipeline COMMAND --help",
    )
    parser.add_argument("command", choices=COMMANDS, help=argparse.SUPPRESS)
    module = COMMANDS[parser.parse_args(sys.argv[1:2]).command][0]
    sys.argv[:2] = [module]
    importlib.import_module(module).main()


if __name__ == "__main__":
    run_command(main)

"""Figure: the best, the median and the worst case of each dataset, as the variants segment them.

python -m pipeline.reporting.qualitative --galleries '["results/gallery/busi.npz"]' --variants '["telescopic"]'
    --output results/qualitative.pdf
"""

import argparse

from pipeline.reporting.casegrid import case_grid, read_gallery
from pipeline.reporting.inputs import add_labels, add_output, add_variants, json_value
from pipeline.reporting.style import save
from pipeline.runtime.errors import run_command

ROLES = {"best", "median", "worst"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--galleries", type=json_value("--galleries", list), required=True, help="JSON list of DATASET.npz files"
    )
    add_variants(parser)
    add_labels(parser)
    add_output(parser, "the PNG goes beside the PDF")
    arguments = parser.parse_args()
    cases = [case for path in arguments.galleries for case in read_gallery(path)]
    save(case_grid(cases, ROLES, arguments.variants, arguments.labels, arguments.note), arguments.output)


if __name__ == "__main__":
    run_command(main)

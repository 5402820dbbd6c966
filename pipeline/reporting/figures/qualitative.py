"""Figure: the best, the median and the worst case of each dataset, as the variants segment them.

python -m pipeline.reporting.figures.qualitative --galleries '["results/gallery/busi.npz"]' --variants '["telescopic"]'
    --output results/qualitative.pdf
"""

from pipeline.reporting.figures.casegrid import gallery_figure
from pipeline.runtime.errors import run_command

ROLES = {"best", "median", "worst"}


def main() -> None:
    gallery_figure(__doc__, ROLES)


if __name__ == "__main__":
    run_command(main)

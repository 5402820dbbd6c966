"""Figure: the best, the median and the worst case of each dataset, as the variants segment them."""

from pipeline.reporting.figures.casegrid import gallery_figure
from pipeline.runtime.errors import run_command


def main() -> None:
    gallery_figure(__doc__, {"best", "median", "worst"})


if __name__ == "__main__":
    run_command(main)

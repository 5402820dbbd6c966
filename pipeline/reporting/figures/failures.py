"""Figure: the failure gallery, cases of each dataset from the low end of DSC."""

from pipeline.reporting.figures.casegrid import gallery_figure
from pipeline.runtime.errors import run_command


def main() -> None:
    gallery_figure(__doc__, {"failure"}, name_rows_by_case=True)


if __name__ == "__main__":
    run_command(main)

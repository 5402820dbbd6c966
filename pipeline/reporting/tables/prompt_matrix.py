"""Table ``prompt_matrix``: DSC by the prompt type of training (rows) and of evaluation (columns)."""

from pipeline.evaluation.provenance import describe_runs
from pipeline.evaluation.runs import listed_runs
from pipeline.reporting.markup import write
from pipeline.reporting.options import parse_options
from pipeline.reporting.tables.prompt_outcomes import scored_under_all
from pipeline.reporting.tables.prompt_sensitivity import build
from pipeline.runtime.errors import run_command

NOTE = (
    "Mean over seeds of the test set's mean DSC, in percent. Rows: the prompts of training; columns: of evaluation, "
    "one type for all cases. p0: the empty prompt. Mean, Range, SD and SD by case are over p1 and up, points; standard "
    "deviations over seeds are in the CSV. Best of p1 and up bold, second best underlined."
)


def main() -> None:
    options = parse_options(__doc__, "results", "runs", "scores", "own")
    runs = listed_runs(options.results, options.runs)
    folders = {run: scored_under_all(run, options.scores, options.own) for run in runs}
    scored = [run._replace(folder=folder) for run, folder in folders.items()]
    frame, table = build(scored, options.labels, "DSC (%) by prompt type of training and of evaluation", NOTE)
    write(frame, table, options, describe_runs(runs, lambda run: [folders[run] / "per_prompt.csv"]))


if __name__ == "__main__":
    run_command(main)

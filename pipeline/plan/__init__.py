"""The plan of a study: its runs, and one entry for each table and figure that is made from them.

    python -m pipeline.plan config.yaml [overlay.yaml ...]     counts the runs, new and shared, by family
    python -m pipeline.plan config.yaml --teraflops 30         adds an estimate of GPU hours

The rules in workflow/rules are loops over what stands here, and pipeline.verify renders the same entries again.

| to add | change |
| --- | --- |
| a table or figure | an entry in :mod:`pipeline.plan.tables` or :mod:`pipeline.plan.figures`, a module, a caption |
| a family beside the ablations | its group in :mod:`pipeline.plan.runs`, then its table and figure |
"""

from pipeline.config import Study
from pipeline.plan.figures import figures
from pipeline.plan.paper import paper
from pipeline.plan.sources import Sources
from pipeline.plan.steps import Step, compact, files
from pipeline.plan.tables import collected, tables

__all__ = ["Plan", "Step", "compact", "files"]


class Plan(Sources):
    """Everything that a study computes.

    Attributes:
        steps: by name, what is made from runs, data and cost.
    """

    def __init__(self, study: Study):
        super().__init__(study)
        tabled, drawn = list(tables(self)), list(figures(self))
        wanted = [step for step in tabled if not step.on_request]
        steps = (*collected(self), *tabled, *drawn, *paper(self, wanted, drawn))
        self.steps = {step.name: step for step in steps}

    def targets(self) -> list[str]:
        """All that ``snakemake all`` makes."""
        wanted = [step for step in self.steps.values() if not step.on_request]
        return [path for step in wanted for path in step.outputs.values()] + [f"{self.study.results}/regression.passed"]

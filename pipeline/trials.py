"""The variants that the family ``tuning`` derives from each method: its trials, and itself with what they choose."""

import re
from typing import Any, NamedTuple

from pipeline.config import TUNED, Study, Variant
from pipeline.runtime.errors import PipelineError
from pipeline.training.settings import PartRates


class Trial(NamedTuple):
    """One point of the grid.

    Attributes:
        variant: what is trained; the method itself where the point is its own rates.
        factor: by which the method's own learning rates are multiplied.
        rates: training settings: learning_rate, learning_rates by part of the model, weight_decay.
    """

    variant: str
    factor: float
    rates: dict[str, Any]


def trials(study: Study) -> dict[str, list[Trial]]:
    """The trials of each method, as many for each; none without the family or any of its datasets."""
    tuning = study.tuning
    if tuning is None or not set(tuning.tried_on) & set(study.datasets):
        return {}
    return {method: _trials_of(study, method) for method in tuning.variants}


def _trials_of(study: Study, method: str) -> list[Trial]:
    own, found = study.training_of(method), []
    parts = own.learning_rates.model_dump(exclude_none=True)
    for factor in study.tuning.factors:
        for decay in study.tuning.weight_decays or [own.weight_decay]:

            def scaled(rate: float, factor: float = factor) -> float:
                return float(f"{rate * factor:.6g}")

            rates = {"learning_rate": scaled(own.learning_rate), "weight_decay": decay}
            rates["learning_rates"] = {part: scaled(rate) for part, rate in parts.items()}
            name = f"{method}_rate_{factor:g}" + (f"_decay_{decay:g}" if study.tuning.weight_decays else "")
            protocol = factor == 1 and decay == own.weight_decay
            found.append(Trial(method if protocol else re.sub(r"\W", "_", name), factor, rates))
    return found


def tuned(method: str) -> str:
    """The variant that is ``method`` with the rates that its trials choose."""
    return f"{method}_{TUNED}"


def expand(study: Study) -> Study:
    """``study`` with the variants that the family ``tuning`` derives.

    Raises:
        PipelineError: the study has a variant of the same name.
    """
    derived: dict[str, Variant] = {}
    for method, points in trials(study).items():
        variant = study.variants[method]
        for point in points:
            parts = PartRates(**point.rates["learning_rates"])
            training = variant.training.model_copy(update=point.rates | {"learning_rates": parts})
            if point.variant != method:
                derived[point.variant] = variant.model_copy(update={"training": training})
        training = variant.training.model_copy(update={"learning_rate": TUNED})
        changes = {"training": training, "label": f"{study.label(method)}, tuned"}
        derived[tuned(method)] = variant.model_copy(update=changes)
    for name in derived:
        if name in study.variants:
            raise PipelineError(f"variants.{name}: the family tuning makes a variant of this name; choose another")
    return study.model_copy(update={"variants": study.variants | derived})

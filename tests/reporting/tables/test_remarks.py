"""What cannot be concluded follows from the numbers of datasets and seeds."""

import pandas as pd

from pipeline.reporting.tables.remarks import explanation, limits


def _table(datasets: list[str], seeds: int) -> pd.DataFrame:
    rows = [(dataset, variant, "v0", 1.5, seeds) for dataset in datasets for variant in ("v1", "v2")]
    return pd.DataFrame(rows, columns=["dataset", "variant", "reference", "margin", "seeds"])


def test_five_datasets_and_three_seeds():
    table = _table(["kvasir_seg", "clinicdb", "bkai", "isic16", "busi", "average"], 3)
    text = " ".join(limits(table, {}))
    # The chi-squared interval with 2 degrees of freedom.
    assert "between 0.52 and 6.3 times the measured one" in text
    assert "29 videos" in text and "Not resolved does not mean equal" in text and "One dataset" not in text
    text = " ".join(explanation(table, {"v0": "V0"}, 300))
    assert "variant minus V0" in text and "300 resamples" in text and "a difference of 1.5 points or more" in text
    assert "the 10 comparisons within datasets, and apart for the 2 of the average" in text
    assert "equivalent: surely less than 1.5 DSC points apart, even if the difference is significant" in text


def test_one_dataset_and_one_seed():
    table = _table(["busi"], 1)
    text = " ".join(limits(table, {}))
    assert "One dataset: nothing can be concluded about other datasets." in text and "29 videos" not in text
    assert "With one seed the variation between trainings is unknown, and nothing is resolved." in text
    assert "the 2 comparisons within datasets. Outcome" in " ".join(explanation(table, {}, 300))

"""The paper's own inconsistencies follow from its numbers, and vanish with them."""

import pandas as pd
import pytest
from reporting_support import LABELS, REPORTED

from pipeline.evaluation.readers import read_reported
from pipeline.reporting.inconsistencies import averages, inconsistencies

FIVE = {"kvasir_seg": 90.0, "clinicdb": 91.0, "bkai": 92.0, "isic16": 93.0, "busi": 94.0}


def _table(stated: float, zero_shot: float, method="vlsm_dense") -> pd.DataFrame:
    rows = [("telescopic", dataset, value, "paper") for dataset, value in FIVE.items()]
    rows += [(method, dataset, value, "vlsm-adapter") for dataset, value in FIVE.items()]
    rows += [("telescopic", "average", 92.0, "paper"), (method, "average", stated, "paper")]
    rows += [("zero_shot", "average", zero_shot, "paper")]
    return pd.DataFrame(rows, columns=["method", "dataset", "value", "source"]).assign(metric="dsc")


def test_the_papers():
    text = "\n".join(inconsistencies(read_reported(REPORTED), lambda key: LABELS.get(key, key)))
    # (89.10 + 87.23 + 88.73 + 92.05 + 65.02) / 5 and (86.85 + 83.67 + 89.04 + 91.40 + 65.51) / 5
    assert "| average DSC of VLSM-Adapter (dense) | 84.17 | 84.43 | mean of the rows of vlsm-adapter |" in text
    assert "| average DSC of VLSM-Adapter (shallow) | 83.17 | 83.29 | mean of the rows of vlsm-adapter |" in text
    assert "| gain over CLIPSeg (zero-shot) | 2.3 to 4.2 | 51.93 | averages: 85.58 less 33.65 |" in text
    assert text.count("average DSC of") == 2
    assert "averages of CLIPSeg, end-to-end, cris, san, Telescopic Adapters are the means of their rows" in text


@pytest.mark.parametrize(
    ("stated", "zero_shot", "found"),
    [(92.0, 89.0, 0), (92.004, 89.0, 0), (92.006, 89.0, 1), (92.0, 87.7, 1), (92.0, 89.8, 1), (91.0, 10.0, 2)],
)
def test_only_what_does_not_follow_is_listed(stated, zero_shot, found):
    lines = inconsistencies(_table(stated, zero_shot), str)
    assert len([line for line in lines if line.startswith(("| average", "| gain"))]) == found
    assert ("Nothing was found." in lines) == (found == 0)


def test_an_average_of_which_not_all_rows_are_known_is_not_checked():
    table = _table(50.0, 89.0)
    table = table[(table["method"] != "vlsm_dense") | (table["dataset"] != "busi")]
    assert list(averages(table)["method"]) == ["telescopic"]

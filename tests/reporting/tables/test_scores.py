"""Stars."""

import pytest

from pipeline.reporting.tables.scores import stars


@pytest.mark.parametrize(
    ("p", "mark"), [(0.0009, "***"), (0.001, "**"), (0.0499, "*"), (0.05, ""), (None, ""), (float("nan"), "")]
)
def test_stars(p, mark):
    assert stars(p) == mark

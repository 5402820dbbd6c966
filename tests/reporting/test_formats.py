"""Numbers as they are shown."""

import pytest

from pipeline.reporting.formats import number, si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (48, "48"), (41.863, "41.9"), (613_297, "613k"), (1_127_009, "1.13M"), (150_747_746, "151M")),
        *((999_900, "1M"), (999_400, "999k"), (8.4e10, "84G")),
    ],
)
def test_three_digits_and_a_unit(value, text):
    assert si(value) == text


def test_what_there_is_not_is_na():
    assert [number(value, "+.2f") for value in (1.005, -2, None, float("nan"))] == ["+1.00", "-2.00", "n/a", "n/a"]

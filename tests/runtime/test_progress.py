"""Progress as lines in a log."""

import pytest

from pipeline.runtime.progress import duration, track


def test_track_yields_all_and_writes_a_line_where_there_is_no_terminal(capsys):
    assert list(track([1, 2, 3], "scored")) == [1, 2, 3]
    assert "scored: 3 done in" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (75, "1 min 15 s"), (7260, "2 h 1 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text

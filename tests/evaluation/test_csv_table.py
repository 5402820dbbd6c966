"""CSV files that are missing, broken or lack a column."""

import pytest

from pipeline.evaluation.csv_table import read_table
from pipeline.runtime.errors import PipelineError


def test_other_columns_are_kept(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,x\n1,y\n")
    assert read_table(path, ["a"], unique=["a", "b"]).to_dict("list") == {"a": [1, 1], "b": ["x", "y"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; run the rule that makes it"),
        (b"", "not a readable CSV"),
        (b"\xff\xfe\x00", "not a readable CSV"),
        (b"a,b\n1,2\n1,2,3\n", "not a readable CSV"),
        (b"a,c\n1,2\n", r"column b is missing \(found: a, c\)"),
        (b"a,b\n1,2\n3,2\n1,4\n", "1 is listed more than once"),
    ],
)
def test_errors_name_the_file(tmp_path, content, message):
    path = tmp_path / "table.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PipelineError, match=message) as error:
        read_table(path, ["a", "b"], unique=["a"])
    assert str(path) in str(error.value)

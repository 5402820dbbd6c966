"""The kind of a file."""

import pytest

from pipeline.data.sniff import kind_of_file
from pipeline.data.unpack import list_members
from pipeline.runtime.errors import PipelineError


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html>log in</html>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "a truncated zip archive"),
        (b"GIF89a", "a file of another kind"),
    ],
)
def test_files_that_are_no_archive_are_named(tmp_path, content, kind):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert kind_of_file(path) == kind
    with pytest.raises(PipelineError, match=kind):
        list_members(path)

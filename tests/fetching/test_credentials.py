"""User and password of a mirror: taken from its address, hidden from command lines, given back."""

import pytest

from pipeline.fetching.credentials import hidden_credentials, hide_credentials, split_credentials
from pipeline.runtime.errors import PipelineError

WITH_LOGIN = "https://some%40body:p%3Aw@mirror.example/v1@2/archives"
BARE = "https://mirror.example/v1@2/archives"


def test_they_are_split_from_the_address():
    assert split_credentials(WITH_LOGIN) == (BARE, ("some@body", "p:w"))
    assert split_credentials(BARE) == (BARE, None)
    with pytest.raises(PipelineError, match=r"^\[x: not an address") as caught:
        split_credentials("http://user:secret@[x")
    assert "secret" not in str(caught.value)


def test_they_travel_in_the_environment(monkeypatch):
    for files in ("ARCHIVES", "ANNOTATIONS"):
        monkeypatch.setenv(f"PIPELINE_{files}_LOGIN", "")
    assert hide_credentials(WITH_LOGIN, "archives") == BARE
    assert split_credentials(hidden_credentials(BARE, "archives")) == split_credentials(WITH_LOGIN)
    assert hidden_credentials(BARE, "annotations") == BARE
    assert hide_credentials(BARE, "annotations") == BARE
    assert hide_credentials(None, "archives") is hidden_credentials(None, "archives") is None

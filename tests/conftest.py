"""How the tests are shared between processes (``pytest -n 2 --dist loadgroup``)."""

from pathlib import Path

import pytest

LONG = ("workflow", "regression", "test_kills")


def _group(item: pytest.Item) -> str:
    """A file's tests stay together, and so do those of the workflow, which share one finished study."""
    path = Path(item.path)
    folder = path.parent.name
    return folder if folder in LONG and path.stem not in LONG else path.stem


def pytest_itemcollected(item: pytest.Item) -> None:
    """Name the group, before pytest-xdist asks for it."""
    item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long groups."""
    items.sort(key=lambda item: LONG.index(_group(item)) if _group(item) in LONG else len(LONG))

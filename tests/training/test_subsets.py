"""Nested subsets of the training cases."""

from pipeline.training.subsets import nested_subset


def test_nested_subsets():
    cases = [f"case{i}" for i in range(200)]
    small, large = (set(nested_subset(cases, fraction, 41)) for fraction in (0.05, 0.25))
    assert (len(small), len(large)) == (10, 50)
    assert small < large
    assert set(nested_subset(cases, 0.05, 42)) != small
    reverse = cases[::-1]
    assert {cases[i] for i in small} == {reverse[i] for i in nested_subset(reverse, 0.05, 41)}
    assert list(nested_subset(cases, 1.0, 41)) == list(range(200))

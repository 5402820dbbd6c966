"""Memory and time of trainings, as their manifests tell."""

import pytest
from reporting_support import write_manifests, write_runs

from pipeline.evaluation.demands import read_manifests, time_unit
from pipeline.runtime.errors import PipelineError


def test_manifests_prefer_the_gpus_memory(tmp_path):
    runs = write_runs(tmp_path, ["busi"], ["telescopic", "zero_shot"], [41], cases=2, epochs=1)
    write_manifests(runs, gpu=True)
    table = read_manifests(runs)
    row = {"variant": "telescopic", "memory_gib": 4000 / 1024, "seconds": 75.0, "on_gpu": True}
    assert table.to_dict("records") == [row]
    (runs[0].folder / "manifest.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"manifest.json: no usable manifest"):
        read_manifests(runs)


@pytest.mark.parametrize(("seconds", "unit"), [(4, "seconds"), (119, "seconds"), (120, "minutes"), (7200, "hours")])
def test_times_have_a_fitting_unit(seconds, unit):
    assert time_unit(seconds)[0] == unit

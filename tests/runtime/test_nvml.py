"""What NVML tells; without it, nothing is claimed."""

import sys
from types import SimpleNamespace

import pytest

from pipeline.runtime.nvml import driver_version, energy_joules, joules_since, utilisation_percent


class NVMLError(Exception):
    pass


@pytest.fixture
def library(monkeypatch):
    """A stand-in for the binding, which knows one card."""
    known = {"GPU-1234": "card"}
    binding = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=known.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption={"card": 2_500}.__getitem__,
        nvmlDeviceGetUtilizationRates=lambda card: SimpleNamespace(gpu=87, memory=12),
        nvmlSystemGetDriverVersion=lambda: "580.1",
    )
    monkeypatch.setitem(sys.modules, "pynvml", binding)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    return binding


def test_the_card_is_asked(library):
    assert energy_joules("cuda") == 2.5
    assert joules_since("cuda", 1.0) == 1.5
    assert utilisation_percent("cuda") == 87
    assert driver_version("cuda") == "580.1"


def test_nothing_is_told_where_the_card_does_not(library, monkeypatch):
    def refuse(_):
        raise NVMLError

    library.nvmlDeviceGetTotalEnergyConsumption = refuse
    assert energy_joules("cuda") is None
    assert joules_since("cuda", 1.0) is None
    assert energy_joules("cpu") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert utilisation_percent("cuda") is None

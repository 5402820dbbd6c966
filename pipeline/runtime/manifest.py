"""What a result was made from: code, data, versions, device."""

import hashlib
import importlib.metadata
import platform
import resource
from pathlib import Path
from typing import Any

import pipeline

PACKAGES = ("torch", "transformers", "peft", "numpy", "pandas", "scipy", "Pillow", "safetensors", "snakemake")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python, the project and the packages that results depend on."""
    result = {"python": platform.python_version(), "pipeline": pipeline.__version__}
    for package in PACKAGES:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            result[package] = "absent"
    return result


def peak_memory_mib(device: str) -> dict[str, float]:
    """Largest memory of this process on the host, and on the GPU if it computed there, in MiB."""
    result = {"host_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}
    if device == "cuda":
        import torch

        result["gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return result


def device_name(device: str) -> str:
    """The card's or the processor's name."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def manifest(device: str, **parts: Any) -> dict[str, Any]:
    """A JSON-ready record: ``parts`` (code and data hashes among them) beside versions and device."""
    return {
        **parts,
        "versions": versions(),
        "device": {"type": device, "name": device_name(device)},
    }

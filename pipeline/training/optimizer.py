"""AdamW with its parameter groups, and the warm-up of its rates."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR

from pipeline.training.settings import TrainingSettings


def part_of(name: str) -> str:
    """The part of the model, ``encoders``, ``decoder`` or ``adapters``, that its parameter of this name belongs to."""
    if name.startswith("adapters.") or ".lora_" in name or ".ia3_" in name:
        return "adapters"
    return "encoders" if name.startswith(("clipseg.clip.", "network.encoder.")) else "decoder"


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], settings: TrainingSettings, capturable: bool = False
) -> torch.optim.AdamW:
    """AdamW with one group for each learning rate and weight decay that the settings give.

    Args:
        parameters: what is trained, by its name in the segmenter.
        capturable: for a CUDA graph, which reads the rates from the device.
    """
    rates = settings.learning_rates.model_dump(exclude_none=True)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, value in parameters.items():
        # Biases, and weights of normalisations, are vectors; so are CLIP's class embedding and an adapter's scale.
        exempt = value.ndim < 2 or "position_embedding" in name
        decay = settings.weight_decay if settings.decay_norms_and_biases or not exempt else 0.0
        groups.setdefault((rates.get(part_of(name), settings.learning_rate), decay), []).append(value)
    options = [{"params": values, "lr": rate, "weight_decay": decay} for (rate, decay), values in groups.items()]
    # One kernel; on a CPU also the way whose square root does not depend on the processor (portable numbers).
    if capturable:
        for group in options:
            group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
    return torch.optim.AdamW(options, fused=True, capturable=capturable)


def make_warmup(optimizer: torch.optim.Optimizer, steps: int) -> LinearLR | None:
    """Rates that grow linearly, from 1/``steps`` of themselves at the first step; None without a warm-up.

    To be stepped after each optimizer step. It multiplies rates, so that others may change them meanwhile.
    """
    return LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1) if steps > 1 else None

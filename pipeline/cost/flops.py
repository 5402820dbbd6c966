"""Cost of one image's inference and of one training step, by fvcore and by PyTorch's FlopCounterMode.

fvcore counts multiply-adds (MACs), FlopCounterMode two FLOPs for each. fvcore counts normalisations as well,
FlopCounterMode does not. fvcore follows the trace back from the output, so it never sees what does not influence it;
FlopCounterMode counts all that is executed. Both count attention in its eager form, for one image and one prompt of
full length; neither counts element-wise work.
"""

import copy
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPSegConfig

from pipeline.models.backbone import empty_backbone
from pipeline.models.segmenter import Segmenter

PARTS = ("vision", "text", "conditional", "decoder", "adapters")
# The two counters' names of what they count.
OPERATIONS = {
    **dict.fromkeys(("linear", "mm", "addmm"), "linear"),
    **dict.fromkeys(("matmul", "bmm", "baddbmm"), "attention"),
    **dict.fromkeys(("conv", "convolution", "convolution_backward"), "convolution"),
    **dict.fromkeys(("layer_norm", "batch_norm"), "norm"),
}
# Above this many parameters the meta device counts faster than the CPU computes.
SMALL = 20_000_000

# By part and operation.
Counts = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Cost:
    """What one variant costs, for one image and one prompt.

    Attributes:
        inference_macs: by fvcore.
        inference_flops: by FlopCounterMode.
        training_flops: by FlopCounterMode, forward and backward; none where nothing is trained.
        prefix_flops: the share of the frozen part of the text branch in the last two, which training computes once for
            each prompt and not in each step.
    """

    inference_macs: Counts
    inference_flops: Counts
    training_flops: Counts | None
    prefix_flops: int


class CostCounter:
    """Counts variants of one backbone; what they share is counted once.

    Args:
        config: the backbone's configuration.
        image_size: side of the input, pixels.
    """

    def __init__(self, config: CLIPSegConfig, image_size: int):
        self.config = config
        self._image_size = image_size
        plain = Segmenter(empty_backbone(config, "eager"))
        self._plain_types = {name: type(module) for name, module in plain.named_modules()}
        total = sum(value.numel() for value in plain.parameters())
        self._device = "cpu" if total < SMALL else "meta"
        self._plain_macs = fvcore_macs(_zeros(plain), *self._inputs("cpu"))
        self._macs: dict[tuple, ByModule] = {}
        self._costs: dict[tuple, Cost] = {}

    def count(self, segmenter: Segmenter) -> Cost:
        """The cost of a segmenter on the meta device, built on this counter's backbone with eager attention.

        A variant may add modules at the segmenter's places and replace modules of the backbone; these are traced alone
        and take the place of what they replace in the plain backbone's count.
        """
        signature = (
            tuple((name, repr(type(module))) for name, module in segmenter.named_modules()),
            tuple((name, value.shape, value.requires_grad) for name, value in segmenter.named_parameters()),
        )
        if signature not in self._costs:
            self._costs[signature] = self._count(segmenter)
        return self._costs[signature]

    def count_released(self) -> Cost:
        """The cost of transformers' own forward, which also runs the vision layers that no mask depends on.

        Those, and what follows them in the vision branch, are the part ``unread``.
        """
        model = _Released(self.config).eval()
        macs = fvcore_macs(_zeros(model), *self._inputs("cpu"))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*self._inputs("meta"))
        depth = max(self.config.extract_layers) + 1
        layers = range(depth, self.config.vision_config.num_hidden_layers)
        unread = (
            *(f"clipseg.clip.vision_model.encoder.layers.{layer}." for layer in layers),
            "clipseg.clip.visual_projection.",
        )

        def parts(counts: ByModule) -> Counts:
            result: Counts = Counter()
            for name, operations in counts.items():
                key = "unread" if f"{name}.".startswith(unread) else _backbone_part(name)
                for operation, count in operations.items():
                    result[key, OPERATIONS.get(operation, operation)] += count
            return result

        return Cost(parts(macs), parts(_flop_counts(counter, type(model).__name__)), None, 0)

    def _count(self, segmenter: Segmenter) -> Cost:
        changed = self._changed(segmenter)
        shapes: dict[str, list[tuple[int, ...]]] = defaultdict(list)

        def note(name: str):
            return lambda module, inputs: shapes[name].append(tuple(inputs[0].shape))

        hooks = [segmenter.get_submodule(name).register_forward_pre_hook(note(name)) for name in changed]
        inference, training, prefix = self._flop_counter(segmenter)
        for hook in hooks:
            hook.remove()
        inside = tuple(f"{name}." for name in changed)
        macs = {
            name: count
            for name, count in self._plain_macs.items()
            if name not in changed and not name.startswith(inside)
        }
        for name in changed:
            for shape in shapes[name]:
                for inner, count in self._macs_alone(segmenter.get_submodule(name), shape).items():
                    full = f"{name}.{inner}".rstrip(".")
                    macs[full] = macs.get(full, Counter()) + count
        return Cost(self._by_part(segmenter, macs), inference, training, prefix)

    def _inputs(self, device: str) -> tuple[Tensor, Tensor]:
        context = self.config.text_config.max_position_embeddings
        pixels = torch.zeros(1, 3, self._image_size, self._image_size, device=device)
        return pixels, torch.zeros(1, context, dtype=torch.long, device=device)

    def _changed(self, segmenter: Segmenter) -> list[str]:
        """The outermost modules that the plain backbone does not have, or has as another class."""
        changed: list[str] = []
        for name, module in segmenter.named_modules():
            new = self._plain_types.get(name) is not type(module)
            if new and not any(name.startswith(f"{outer}.") for outer in changed):
                changed.append(name)
        return changed

    def _macs_alone(self, module: nn.Module, shape: tuple[int, ...]) -> "ByModule":
        key = (repr(module), shape)
        if key not in self._macs:
            self._macs[key] = fvcore_macs(_zeros(module), torch.zeros(shape))
        return self._macs[key]

    def _flop_counter(self, segmenter: Segmenter) -> tuple[Counts, Counts | None, int]:
        """By FlopCounterMode: inference, training step, and the frozen text prefix's share of each."""
        if self._device == "cpu":
            segmenter = _zeros(segmenter)
        step = _Step(segmenter).train()
        graph = _BackwardParts()
        for name, module in segmenter.named_modules():
            graph.follow(module, self._part(segmenter, name))
        with FlopCounterMode(display=False) as counter:
            logits = step(*self._inputs(self._device), counter)
            forward = self._by_part(segmenter, _flop_counts(counter, f"{_Step.__name__}.segmenter"))
            if not logits.requires_grad:
                return forward, None, step.prefix_flops
            backward = graph.backward(logits.sum(), counter)
        return forward, forward + backward, step.prefix_flops

    def _by_part(self, segmenter: Segmenter, counts: "ByModule") -> Counts:
        result: Counts = Counter()
        for name, operations in counts.items():
            for operation, count in operations.items():
                result[self._part(segmenter, name), OPERATIONS.get(operation, operation)] += count
        return result

    def _part(self, segmenter: Segmenter, name: str) -> str:
        if name.startswith("adapters."):
            return "adapters"
        if name and name not in self._plain_types:
            # Inside a replaced module: what training updates is the adapter, the rest the module it was.
            own = segmenter.get_submodule(name).parameters(recurse=False)
            if any(value.requires_grad for value in own):
                return "adapters"
        return _backbone_part(name)


# By module, without what its modules count themselves, and by the counter's name of the operation.
ByModule = dict[str, Counter[str]]

_BACKBONE_PARTS = {
    "vision": "clipseg.clip.vision_model.",
    "text": "clipseg.clip.text_model.",
    "conditional": "clipseg.clip.text_projection.",
    "decoder": "clipseg.decoder.",
}


def _backbone_part(name: str) -> str:
    return next((key for key, prefix in _BACKBONE_PARTS.items() if f"{name}.".startswith(prefix)), "other")


class _Step(nn.Module):
    """A segmenter's forward that notes where the frozen prefix of the text branch ends."""

    def __init__(self, segmenter: Segmenter):
        super().__init__()
        self.segmenter = segmenter
        self.prefix_flops = 0

    def forward(self, pixel_values: Tensor, input_ids: Tensor, counter: FlopCounterMode) -> Tensor:
        text = self.segmenter.text_prefix(input_ids)
        self.prefix_flops = counter.get_total_flops()
        return self.segmenter(pixel_values, text=text)


class _BackwardParts:
    """Which part of the model each step of a backward pass belongs to.

    FlopCounterMode's own attribution to modules is right in the forward pass only: in the backward pass a module stays
    open until the gradients of all its inputs have come, and those of a frozen input never do.
    """

    def __init__(self) -> None:
        self._parts: dict[Node, str] = {}

    def follow(self, module: nn.Module, part: str) -> None:
        """Claim for ``part`` what ``module`` adds to the graph beyond what modules inside it and before it added."""

        def claim(module: nn.Module, inputs: tuple, output: Tensor | tuple) -> None:
            tensor = output if isinstance(output, Tensor) else output[0]
            nodes = [tensor.grad_fn]
            while nodes:
                node = nodes.pop()
                if node is not None and node not in self._parts:
                    self._parts[node] = part
                    nodes.extend(following for following, _ in node.next_functions)

        module.register_forward_hook(claim)

    def backward(self, loss: Tensor, counter: FlopCounterMode) -> Counts:
        """Run the backward pass of ``loss`` and give its FLOPs by part and operation."""
        result: Counts = Counter()
        before, current = _totals(counter), "other"

        def close(following: str) -> None:
            nonlocal before, current
            now = _totals(counter)
            for operation, count in (now - before).items():
                result[current, OPERATIONS.get(operation, operation)] += count
            before, current = now, following

        for node, part in self._parts.items():
            node.register_prehook(lambda gradients, part=part: close(part))
        loss.backward()
        close("other")
        return result


def _totals(counter: FlopCounterMode) -> Counter[str]:
    return _by_name(counter.get_flop_counts().get("Global", {}))


def _by_name(counts: Mapping[Any, int]) -> Counter[str]:
    return Counter({str(operation).rpartition(".")[2]: int(count) for operation, count in counts.items()})


class _Released(nn.Module):
    """CLIPSeg's own forward, as transformers has it."""

    def __init__(self, config: CLIPSegConfig):
        super().__init__()
        self.clipseg = empty_backbone(config, "eager")

    def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        return self.clipseg(pixel_values=pixel_values, input_ids=input_ids).logits


def _zeros(module: nn.Module) -> nn.Module:
    """A copy of a module of the meta device on the CPU, all zeros: counting needs shapes and no values."""
    result = copy.deepcopy(module).to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*result.parameters(), *result.buffers()):
            tensor.zero_()
    return result


def _exclusive(totals: Mapping[str, Counter[str]]) -> ByModule:
    """Counts of modules without those of the modules inside them; names are dotted paths."""
    result = {name: Counter(counts) for name, counts in totals.items()}
    for name, counts in totals.items():
        outer = name
        while outer:
            outer = outer.rpartition(".")[0]
            if outer in result:
                result[outer].subtract(counts)
                break
    return {name: +counts for name, counts in result.items()}


def fvcore_macs(module: nn.Module, *inputs: Tensor) -> ByModule:
    """fvcore's count of one forward, by module and operation; the module's own name is empty."""
    analysis = FlopCountAnalysis(module.eval(), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        # The trace warns of shapes that become constants: with one input that is what they are.
        warnings.simplefilter("ignore")
        return _exclusive(analysis.by_module_and_operator())


def _flop_counts(counter: FlopCounterMode, prefix: str) -> ByModule:
    """FlopCounterMode's count by module and operation; names relative to ``prefix``."""
    totals = {}
    for name, counts in counter.get_flop_counts().items():
        if name == "Global":
            totals[""] = _by_name(counts)
        elif name.startswith(f"{prefix}."):
            totals[name.removeprefix(f"{prefix}.")] = _by_name(counts)
    return _exclusive(totals)

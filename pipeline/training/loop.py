"""The training loop: plain PyTorch, as it is what the study is about.

Everything a step needs lies on the device: images as uint8, masks, the frozen part of each text feature and, where the
vision encoder is frozen, its extracted states. A step never waits for the device.
"""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from pipeline.models.adapters import WeightedBatchNorm2d
from pipeline.models.frozen import prepare_frozen
from pipeline.models.interface import SegmentationModel
from pipeline.models.precision import autocast
from pipeline.models.preprocessing import normalise
from pipeline.models.textcache import TextCache
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.progress import duration, log
from pipeline.training.augmentation import augment
from pipeline.training.determinism import precision_on
from pipeline.training.graph import Replayed, padded
from pipeline.training.loss import batch_dsc, dice_bce_loss
from pipeline.training.optimizer import make_optimizer, make_warmup
from pipeline.training.settings import TrainingSettings

# Share of the free memory that the vision states of a frozen encoder may take.
CACHE_SHARE = 0.3


class DivergedError(PipelineError):
    """Too many steps in a row gave no finite loss and gradients."""


@dataclass
class CaseTensors:
    """Images and masks of one split on the device.

    Attributes:
        images: (cases, side, side, 3) uint8.
        masks: (cases, side, side) uint8, 0 or 1.
        vision: the extracted states of a frozen vision encoder, one (cases, tokens, width) tensor per layer, or none.
    """

    images: Tensor
    masks: Tensor
    vision: list[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def inputs(self, index: Tensor) -> dict[str, Any]:
        """The image side of the segmenter's arguments for the cases at ``index``."""
        if self.vision is not None:
            return {"vision": [state[index] for state in self.vision]}
        return {"pixel_values": normalise(self.images[index])}

    def augmented(self, index: Tensor, views: Tensor) -> tuple[dict[str, Any], Tensor]:
        """The same of what :func:`augment` makes of the cases with ``views``, and its masks."""
        images, masks = augment(self.images[index], self.masks[index], views)
        return {"pixel_values": normalise(images)}, masks


def to_device(images: np.ndarray, masks: np.ndarray, device: str) -> CaseTensors:
    """Move a split to ``device`` as it is stored, in uint8."""
    return CaseTensors(torch.from_numpy(np.array(images)).to(device), torch.from_numpy(np.array(masks)).to(device))


@torch.no_grad()
def cache_vision(
    segmenter: SegmentationModel, splits: Sequence[CaseTensors], batch_size: int, autocast: Callable
) -> None:
    """Compute the vision states of ``splits`` once, if the encoder is frozen and they fit."""
    each = segmenter.cached_bytes(splits[0].images.shape[1])
    if each is None:
        return
    size = sum(map(len, splits)) * each
    free = torch.cuda.mem_get_info()[0] if splits[0].images.is_cuda else psutil.virtual_memory().available
    if size > CACHE_SHARE * free:
        log(f"vision states would take {size / 2**30:.1f} GiB: not cached")
        return
    segmenter.eval()
    for split in splits:
        parts = []
        for images in split.images.split(batch_size):
            with autocast():
                parts.append([state.float() for state in segmenter.vision_states(normalise(images))])
        split.vision = [torch.cat(states) for states in zip(*parts, strict=True)]


class Step(NamedTuple):
    """What an optimizer step was, as scalars on the device.

    Attributes:
        loss: mean over the batch.
        norm: global L2 norm of the gradient before clipping; not finite if the step was skipped.
    """

    loss: Tensor
    norm: Tensor


@dataclass
class Progress:
    """What early stopping, checkpoint selection and the history need to go on."""

    epoch: int = 0
    steps: int = 0
    skips_in_a_row: int = 0
    best_dsc: float = -1.0
    best_epoch: int = 0
    stop_reference: float = -1.0
    stale_epochs: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one segmenter on one dataset.

    An epoch shows ``images_per_epoch`` images, in as many optimizer steps as the full training set takes. A smaller
    ``train`` is passed over as often as that needs, so budgets that count epochs do not depend on its size.

    Args:
        segmenter: on its device, with a variant attached.
        text: prefix of every prompt that can be drawn.
        train, val: the splits on the device.
        train_prompts: gives the cache positions of the training prompts of a pass over ``train``, (cases,) int64;
            passes are counted from 1 over the whole training.
        val_prompts: cache positions of the validation prompts, fixed.
        name: what log lines and errors call this run.
        images_per_epoch: the size of the full training set; of ``train`` if absent.
        train_views: gives what :func:`pipeline.training.augmentation.augment` makes of the training cases in a pass, as
            ``train_prompts`` does; to be given with ``augmentation``, and only then.

    Raises:
        ValueError: ``train_views`` and ``augmentation`` contradict each other.
    """

    def __init__(
        self,
        segmenter: SegmentationModel,
        text: TextCache,
        train: CaseTensors,
        val: CaseTensors,
        train_prompts: Callable[[int], Tensor],
        val_prompts: Tensor,
        settings: TrainingSettings,
        seed: int,
        name: str = "run",
        images_per_epoch: int | None = None,
        train_views: Callable[[int], Tensor] | None = None,
    ):
        if (settings.augmentation == "none") != (train_views is None):
            raise ValueError("augmentation and train_views contradict each other")
        self.segmenter, self.text, self.train, self.val = segmenter, text, train, val
        self.train_prompts, self.train_views = train_prompts, train_views
        self.settings, self.seed, self.name = settings, seed, name
        self.images_per_epoch = images_per_epoch or len(train)
        self.device = train.images.device.type
        self.val_prompts = val_prompts.to(self.device)
        segmenter.gradient_checkpointing = settings.gradient_checkpointing
        self.parameters = list(segmenter.trainable_parameters().values())
        self.precision = precision_on(self.device, settings.precision)
        # Of batch norms.
        self.statistics = [value for value in segmenter.trained_buffers().values() if value.is_floating_point()]
        graph = settings.cuda_graph and self.device == "cuda"
        self.optimizer = make_optimizer(segmenter.trainable_parameters(), settings, capturable=graph)
        self.warmup = make_warmup(self.optimizer, settings.warmup_steps)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=settings.plateau_factor, patience=settings.plateau_patience
        )
        self.scaler = self._make_scaler()
        norms = [module for module in segmenter.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        self.norms = [module for module in norms if isinstance(module, WeightedBatchNorm2d)]
        # A batch norm that knows no weights, or slices, would tell a padded batch from one that is not.
        self.pads = len(self.norms) == len(norms) and settings.accumulation == 1
        self.replayed = self.recorded() if graph else None
        self.progress = Progress()
        self.best = self._snapshot()
        prepare_frozen(segmenter, self.precision)
        if train_views and segmenter.cached_bytes(train.images.shape[1]) is not None:
            log(f"{name}: vision states of training images are not cached, as training.augmentation changes the images")
        cache_vision(segmenter, (val,) if train_views else (train, val), settings.batch_size, self.autocast)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Mixed precision as configured."""
        return autocast(self.device, self.precision)

    def _make_scaler(self) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(self.device, enabled=self.precision == "fp16")

    def _forget_recording(self) -> None:
        """The scaler takes a step that was recorded by half for one under way."""
        before, self.scaler = self.scaler, self._make_scaler()
        self.scaler.load_state_dict(before.state_dict())

    def recorded(self, **how: Callable) -> Replayed:
        """Steps that are replayed; ``how`` is for tests without CUDA, as :class:`Replayed` takes it."""
        step = (lambda *batch: self.compute(*batch[:-1], weights=batch[-1])) if self.pads else self.compute
        return Replayed(step, min(self.settings.batch_size, self.images_per_epoch), self._forget_recording, **how)

    def _snapshot(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.segmenter.trained_state().items()}

    def _loss(self, logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        settings = self.settings
        options = (settings.dice_weight, settings.bce_weight, settings.reference_double_sigmoid)
        return dice_bce_loss(logits, masks[:, None], *options, weights)

    def step(self, cases: Tensor, prompts: Tensor, *views: Tensor) -> Step:
        """One optimizer step on ``cases`` (indices on the device) with ``prompts`` (cache positions).

        ``views``, where images are augmented: of these cases, as ``train_views`` gives them.

        If the loss or a gradient is not finite, it changes no weight, as GradScaler does in fp16; neither does it
        spoil batch statistics.
        """
        if self.replayed:
            batch = (cases, prompts, *views)
            step = self.replayed(*(padded(self.replayed.size, *batch) if self.pads else batch))
        else:
            step = self.compute(cases, prompts, *views)
        if self.warmup:
            self.warmup.step()
        return step

    def compute(self, cases: Tensor, prompts: Tensor, *views: Tensor, weights: Tensor | None = None) -> Step:
        """What a step does on the device; CUDA can record it.

        Args:
            weights: of the cases of a batch that :func:`padded` made.
        """
        self.optimizer.zero_grad(set_to_none=True)
        before = [value.clone() for value in self.statistics]
        for norm in self.norms:
            norm.weights = weights
        total = torch.zeros((), device=self.device)
        slices = (value.tensor_split(self.settings.accumulation) for value in (cases, prompts, *views))
        for part, texts, *seen in zip(*slices, strict=True):
            if len(part) == 0:
                continue
            if seen:
                inputs, masks = self.train.augmented(part, *seen)
            else:
                inputs, masks = self.train.inputs(part), self.train.masks[part]
            with self.autocast():
                logits = self.segmenter(**inputs, text=self.text.take(texts))
            loss = self._loss(logits, masks, weights) * (len(part) / len(cases))
            # Factor 1, but NaN for a loss that is not finite: gradients then are neither, and those decide.
            self.scaler.scale(loss).backward(loss.detach() * 0 + 1)
            total += loss.detach()
        for norm in self.norms:
            norm.weights = None
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        if not self.scaler.is_enabled():
            # What GradScaler tells the fused kernel in fp16.
            self.optimizer.found_inf = (~norm.isfinite()).float()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        for value, old in zip(self.statistics, before, strict=True):
            value.copy_(torch.where(value.isfinite(), value, old))
        return Step(total, norm)

    def images_that_fit(self, most: int) -> int:
        """How many of ``most`` images, halved as often as needed, go forward and back in the available memory; maybe 0.

        To be asked after a failure: it leaves no gradients, and statistics of batch norm that saw repeated cases.
        """
        while most:
            cases = torch.arange(most, device=self.device) % len(self.train)
            try:
                # AdamW keeps two tensors a parameter from its first step on.
                moments = () if self.optimizer.state else [torch.empty_like(p) for p in self.parameters * 2]
                with self.autocast():
                    logits = self.segmenter(**self.train.inputs(cases), text=self.text.take(cases * 0))
                self._loss(logits, self.train.masks[cases]).backward()
                del moments
                return most
            except torch.OutOfMemoryError:
                most //= 2
            finally:
                self.optimizer.zero_grad(set_to_none=True)
        return 0

    def train_epoch(self, epoch: int) -> dict[str, float]:
        """Train for one epoch, counted from 1; what its steps were like, as columns of the history."""
        # Reseeded in each epoch, so that dropout after a resume is what it would have been.
        torch.manual_seed(self.seed * 1_000_003 + epoch)
        self.segmenter.train()
        # A function of seed and epoch only.
        generator = np.random.default_rng((self.seed, epoch))
        passes = -(-self.images_per_epoch // len(self.train))
        parts = []
        for index in range((epoch - 1) * passes + 1, epoch * passes + 1):
            order = torch.from_numpy(generator.permutation(len(self.train)))
            drawn = [draw(index)[order] for draw in (self.train_prompts, self.train_views) if draw]
            parts.append((order, *drawn))
        columns = [torch.cat(column)[: self.images_per_epoch].to(self.device) for column in zip(*parts, strict=True)]
        batches = list(zip(*(column.split(self.settings.batch_size) for column in columns), strict=True))
        steps = [self.step(*batch) for batch in batches]
        # The only time that an epoch waits for the device.
        losses, norms = (torch.stack(values).tolist() for values in zip(*steps, strict=True))
        self.progress.steps += len(steps)
        finite = [index for index, norm in enumerate(norms) if math.isfinite(norm)]
        images = sum(len(batches[index][0]) for index in finite)
        self._count_skips(norms)
        return {
            "train_loss": sum(losses[i] * len(batches[i][0]) for i in finite) / images if images else math.nan,
            "gradient_norm_mean": sum(norms[i] for i in finite) / len(finite) if finite else math.nan,
            "gradient_norm_max": max((norms[i] for i in finite), default=math.nan),
            "skipped_steps": len(steps) - len(finite),
            "loss_scale": self.scaler.get_scale(),
        }

    def _count_skips(self, norms: Sequence[float]) -> None:
        progress, most = self.progress, self.settings.max_consecutive_skips
        for norm in norms:
            progress.skips_in_a_row = 0 if math.isfinite(norm) else progress.skips_in_a_row + 1
            if progress.skips_in_a_row > most:
                raise DivergedError(
                    f"{self.name}: loss or gradients were not finite in {most + 1} steps in a row, the last in epoch "
                    f"{progress.epoch + 1} at learning rate {self.learning_rate():g}; the state of the last saved "
                    "epoch is kept. Lower training.learning_rate of this variant"
                    + (", or set training.precision to bf16" if self.precision == "fp16" else "")
                )

    def learning_rate(self) -> float:
        """The present learning rate: of the parameter group that has the largest."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """Mean loss and mean DSC (0..1, at the model's resolution) over the validation cases."""
        self.segmenter.eval()
        loss = torch.zeros((), device=self.device, dtype=torch.float64)
        dsc = torch.zeros((), device=self.device, dtype=torch.float64)
        # Twice a training slice: without gradients each image takes less than half the memory.
        size = 2 * -(-self.settings.batch_size // self.settings.accumulation)
        for cases in torch.arange(len(self.val), device=self.device).split(size):
            with self.autocast():
                logits = self.segmenter(**self.val.inputs(cases), text=self.text.take(self.val_prompts[cases]))
            target = self.val.masks[cases]
            loss += self._loss(logits, target).double() * len(cases)
            dsc += batch_dsc(logits, target[:, None]).double().sum()
        return loss.item() / len(self.val), dsc.item() / len(self.val)

    def fit(self, save: Callable[[dict[str, Any]], None] | None = None) -> Progress:
        """Train until early stopping or the last epoch; afterwards the segmenter holds the best epoch's weights.

        Args:
            save: called with :meth:`state` every ``save_every`` epochs.

        Raises:
            DivergedError: more steps in a row than ``max_consecutive_skips`` were skipped. The last saved state is left
                as it is.
        """
        settings, progress = self.settings, self.progress
        began, first = time.monotonic(), progress.epoch
        while progress.epoch < settings.max_epochs:
            if progress.epoch >= settings.min_epochs and progress.stale_epochs >= settings.stop_patience:
                break
            start = time.monotonic()
            epoch = progress.epoch + 1
            trained = self.train_epoch(epoch)
            seconds, rate = time.monotonic() - start, self.learning_rate()
            val_loss, val_dsc = self.validate()
            self.scheduler.step(val_loss)
            progress.epoch = epoch
            progress.history.append(
                {
                    "epoch": epoch,
                    "steps": progress.steps,
                    "learning_rate": rate,
                    "val_loss": val_loss,
                    "val_dsc": val_dsc,
                    **trained,
                    "seconds": time.monotonic() - start,
                    "images_per_second": self.images_per_epoch / seconds,
                }
            )
            if val_dsc > progress.best_dsc:
                progress.best_dsc, progress.best_epoch, self.best = val_dsc, epoch, self._snapshot()
            if val_dsc > progress.stop_reference + settings.stop_min_delta:
                progress.stop_reference, progress.stale_epochs = val_dsc, 0
            else:
                progress.stale_epochs += 1
            pace = (time.monotonic() - began) / (epoch - first)
            log(
                f"{self.name} {self.device} epoch {epoch}/{settings.max_epochs} loss {trained['train_loss']:.4f} "
                f"val loss {val_loss:.4f} val DSC {val_dsc:.4f} lr {rate:.1e}, "
                f"at most {duration(pace * (settings.max_epochs - epoch))} left"
            )
            if save and epoch % settings.save_every == 0:
                save(self.state())
        self.segmenter.load_trained_state(self.best)
        return progress

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, JSON-like values and tensors only."""
        return {
            "trained": self._snapshot(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "warmup": self.warmup and self.warmup.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": vars(self.progress),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.segmenter.load_trained_state(state["trained"])
        self.best = {name: value.to(self.device) for name, value in state["best"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"] = group["lr"].to(self.device)
        self.scheduler.load_state_dict(state["scheduler"])
        if self.warmup:
            self.warmup.load_state_dict(state["warmup"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])

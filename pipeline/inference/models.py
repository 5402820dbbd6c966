"""Trained models from where they lie: runs, exported folders, the Hugging Face hub, released checkpoints."""

import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from pipeline.fetching.download import first_line
from pipeline.models.backbone import load_backbone
from pipeline.models.checkpoints import load_released_checkpoint
from pipeline.models.folder import CONFIG, WEIGHTS
from pipeline.models.interface import SegmentationModel
from pipeline.models.preprocessing import load_tokenizer
from pipeline.models.weights import load_weights, read_metadata
from pipeline.runtime.atomic import read_json
from pipeline.runtime.errors import PipelineError
from pipeline.runtime.manifest import file_sha256

RUN_WEIGHTS = "weights.safetensors"
BACKBONE = "backbone"
DEFAULT_SIZE = 352
NAME_IT = "name the folder of the one that was trained on by --backbone"
ON_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")

_sha256 = functools.cache(file_sha256)


class Model(NamedTuple):
    """Segmenters whose probabilities are averaged, the tokenizer of their prompts, and the side of their input."""

    segmenters: list[SegmentationModel]
    tokenizer: PreTrainedTokenizerBase
    size: int


def find_runs(source: str) -> list[Path]:
    """The folders with weights that ``source`` names.

    Args:
        source: a run's folder or a file in it, a variant's folder (all its seeds), an exported one, or
            OWNER/NAME@REVISION on the hub.

    Raises:
        PipelineError: there is no trained run; says which command trains it.
    """
    folder = Path(source)
    hub = None if folder.exists() else ON_HUB.fullmatch(source)
    if hub:
        folder = from_hub(hub["repository"], hub["revision"], [RUN_WEIGHTS, CONFIG, f"{BACKBONE}/*"])
    if folder.is_file():
        folder = folder.parent
    if (folder / RUN_WEIGHTS).is_file():
        return [folder]
    if runs := sorted(path.parent for path in folder.glob(f"seed*/{RUN_WEIGHTS}")):
        return runs
    if hub:
        raise PipelineError(f"{source}: holds no {RUN_WEIGHTS}; name a model that `python -m pipeline export` wrote")
    if variants := sorted({path.parts[-3] for path in folder.glob(f"*/seed*/{RUN_WEIGHTS}")}):
        raise PipelineError(f"{source}: holds runs of {', '.join(variants)}; name one of them")
    run = folder if folder.name.startswith("seed") else folder / "seed41"
    target = run if "runs" in run.parts[:-3] else Path("results/runs/DATASET/VARIANT/seed41")
    raise PipelineError(
        f"{source}: no trained run here. To train one: snakemake {target / RUN_WEIGHTS} --cores 2 (with the "
        "--configfile of its study, if any). A model on the Hugging Face hub is OWNER/NAME@REVISION"
    )


def study_of(run: Path) -> Path:
    """The results folder of a run, which lies in {results}/runs/{dataset}/{variant}/seed{seed}."""
    return run.absolute().parents[:4][-1]


def from_hub(repository: str, revision: str, patterns: Sequence[str]) -> Path:
    """The folder in the Hugging Face cache with the files of ``repository`` at ``revision`` that match ``patterns``.

    Raises:
        PipelineError: they cannot be had.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = snapshot_download(repository, revision=revision, allow_patterns=patterns, endpoint=constants.ENDPOINT)
    except Exception as error:
        # Which classes come here depends on the hub's library and on the HTTP and Xet clients that it uses.
        raise PipelineError(
            f"{repository}@{revision}: could not be had from {constants.ENDPOINT} ({first_line(error)}); correct name "
            "and revision, log in (`hf auth login`) if it is private, set HF_ENDPOINT to a mirror, or download its "
            "files on a machine with a network and name their folder"
        ) from None
    return Path(folder)


def find_backbone(run: Path, given: Path | None = None) -> Path:
    """The folder of the CLIPSeg that a run was trained on.

    That is ``given``, or else the first that fits: beside the weights (exported), in the run's study, in results/, or
    on the hub, where the exported folder's config.json says.

    Raises:
        PipelineError: there is none, or ``given`` is another one.
    """
    weights = run / RUN_WEIGHTS
    trained_on = read_metadata(weights).get("backbone_sha256")
    study = study_of(run) / BACKBONE
    places = [given] if given else [run / BACKBONE, study, Path("results") / BACKBONE]
    present = [folder for folder in places if (folder / WEIGHTS).is_file()]
    for folder in present:
        if trained_on in (None, _sha256(folder / WEIGHTS)):
            return folder
    if not given and (run / CONFIG).is_file():
        source = read_json(run / CONFIG, dict, "export the run again").get("backbone")
        if isinstance(source, dict) and {"repository", "revision"} <= source.keys():
            return from_hub(source["repository"], source["revision"], ["*.json", "*.txt", WEIGHTS])
    if present:
        raise PipelineError(f"{weights}: trained on another backbone than {present[0] / WEIGHTS}; {NAME_IT}")
    raise PipelineError(f"{given or study}: no CLIPSeg here; {NAME_IT}")


def load_runs(sources: Sequence[str], backbone: Path | None, image_size: int | None) -> Model:
    """The model that averages the runs that ``sources`` name (see :func:`find_runs`).

    Args:
        image_size: in place of the size that the runs were trained with.

    Raises:
        PipelineError: a run or its backbone is missing or broken, or the runs were trained with different sizes.
    """
    segmenters, sizes = [], {}
    for run in (run for source in sources for run in find_runs(source)):
        weights, folder = run / RUN_WEIGHTS, find_backbone(run, backbone)
        segmenters.append(load_weights(weights, load_backbone(folder)))
        sizes.setdefault(int(read_metadata(weights).get("image_size", DEFAULT_SIZE)), weights)
    if not image_size and len(sizes) > 1:
        listed = ", ".join(f"{path} with {size}" for size, path in sizes.items())
        raise PipelineError(f"trained with different sizes: {listed}; choose one by --image-size")
    return _model(segmenters, folder, image_size or next(iter(sizes)))


def load_checkpoint(path: Path, backbone: Path, image_size: int | None) -> Model:
    """The model of a released checkpoint.

    Raises:
        PipelineError: the file or the backbone cannot be used.
    """
    if not (backbone / WEIGHTS).is_file():
        raise PipelineError(f"{backbone}: no CLIPSeg here; {NAME_IT}")
    segmenter = load_released_checkpoint(path, load_backbone(backbone))
    return _model([segmenter], backbone, image_size or DEFAULT_SIZE)


def _model(segmenters: list[SegmentationModel], backbone: Path, size: int) -> Model:
    multiple = segmenters[0].multiple
    if size <= 0 or size % multiple:
        raise PipelineError(f"--image-size: {size} is not a multiple of {multiple}")
    return Model(segmenters, load_tokenizer(backbone), size)

"""Write a trained run as a folder for the Hugging Face hub, which `predict --run` takes too.

It holds weights.safetensors (what was trained), config.json (variant, image size, backbone), manifest.json, and
README.md, the model card. A backbone that is not published goes into backbone/.
"""

import argparse
import os
import shutil
from pathlib import Path

from pipeline.data.sources import TABLE
from pipeline.fetching.clipseg import OPTIONAL, TOKENIZER, known_weights
from pipeline.inference.card import model_card
from pipeline.inference.models import BACKBONE, DEFAULT_SIZE, RUN_WEIGHTS, find_backbone, find_runs, study_of
from pipeline.models.folder import CONFIG, WEIGHTS
from pipeline.models.weights import read_metadata, read_variant
from pipeline.runtime.atomic import atomic_folder, read_json, write_json
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256
from pipeline.runtime.progress import log

BACKBONE_FILES = TABLE.with_name("backbone_files.csv")


def export(run: Path, output: Path, backbone: Path | None = None) -> None:
    """Write the run in the folder ``run`` into ``output``.

    Args:
        backbone: folder of the CLIPSeg it was trained on, if it is not that of its study.

    Raises:
        PipelineError: the run, its manifest or its backbone is missing or broken.
    """
    manifest = read_json(run / "manifest.json", dict, "train the run again")
    folder = find_backbone(run, backbone)
    sha256 = file_sha256(folder / WEIGHTS)
    published = known_weights(sha256, BACKBONE_FILES)
    size = int(read_metadata(run / RUN_WEIGHTS).get("image_size", DEFAULT_SIZE))
    card = model_card(run, manifest, size, published, phantoms=(study_of(run) / "phantoms").is_dir())
    place = {"repository": published.repository, "revision": published.revision} if published else {}
    with atomic_folder(output) as temporary:
        for name in (RUN_WEIGHTS, "manifest.json"):
            shutil.copyfile(run / name, temporary / name)
        settings = {"variant": read_variant(run / RUN_WEIGHTS), "image_size": size}
        write_json(temporary / CONFIG, settings | {"backbone": {"sha256": sha256, **place}})
        card.save(temporary / "README.md")
        if not published:
            (temporary / BACKBONE).mkdir()
            for name in (CONFIG, WEIGHTS, *TOKENIZER, *OPTIONAL):
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, temporary / BACKBONE / name)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("--output", type=Path, help="folder to write; hub/{dataset}/{variant}/seed{seed} in its study")
    parser.add_argument("--backbone", type=Path, help="folder of CLIPSeg, if it is not that of the run's study")
    options = parser.parse_args()
    runs = find_runs(options.run)
    if len(runs) > 1:
        raise PipelineError(f"{options.run}: {len(runs)} runs; name one of them, e.g. {runs[0]}")
    (run,) = runs
    output = options.output or Path(os.path.relpath(study_of(run) / "hub" / Path(*run.absolute().parts[-3:])))
    export(run, output, options.backbone)
    log(f"{output}: {', '.join(sorted(path.name for path in output.iterdir()))}")
    log(f"read README.md, then publish it, if the data's terms allow: hf upload OWNER/NAME {output}")


if __name__ == "__main__":
    run_command(main)

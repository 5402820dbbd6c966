"""The model card of a run, from its manifest, its scores and the table of datasets."""

import json
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

import pipeline
from pipeline.data.sources import JOINT, Dataset, dataset_facts
from pipeline.evaluation.per_case import SCORES, read_per_case, summarise
from pipeline.fetching.clipseg import KnownFile
from pipeline.models.kinds import parse_variant
from pipeline.runtime.errors import PipelineError

CITATION = Path(__file__).parents[2] / "CITATION.cff"
TEMPLATE = """---
{{ card_data }}
---

# {{ run }}

**Research software, not a medical device.** Not for diagnosis, treatment or any other clinical use.
{% if phantoms %}
**Trained on phantoms**, drawn images in the layout of {{ title }}, with a tiny backbone. It shows how things work; its
scores say nothing about {{ title }} or the paper.
{% endif %}
{{ family }} for {{ title }} with {{ trained }} trained parameters, made by a reproduction of *Telescopic Adapters*
(arXiv 2512.13855). It takes an image and a prompt{{ ignored }}, and gives a mask.

```sh
python -m pipeline predict --run OWNER/NAME@REVISION --image scan.png --prompt "what to segment" --output masks
```
{% for heading, rows in tables.items() %}
## {{ heading }}

| | |
| --- | --- |
{% for label, value in rows.items() %}| {{ label }} | {{ value }} |
{% endfor %}{% endfor %}
## Limits

- One training of several: other seeds give other masks, and the spread between them is no part of these numbers.
- Tested on images like those of its training, not on those of other devices, hospitals or patients.
- The prompts of training and test were made from the masks: they give size, number and place. Expect worse masks where
  a prompt does not know these.
- The threshold of 0.5 was chosen for no use; nobody has judged these masks clinically.

## Citation

{% for citation in citations %}- {{ citation }}
{% endfor %}"""


def model_card(
    run: Path, manifest: dict[str, Any], image_size: int, backbone: KnownFile | None, phantoms: bool
) -> ModelCard:
    """The card of the run in the folder ``run``.

    Args:
        image_size: side of the model's input, pixels.
        backbone: the published weights that it was trained on, None for others.
        phantoms: whether its images are drawn.

    Raises:
        PipelineError: the manifest lacks a record, or the scores are broken.
    """
    try:
        dataset = manifest["run"].split("/")[0]
        facts = None if dataset == JOINT else dataset_facts(dataset)
        title = facts.title if facts else "several datasets"
        prompted = parse_variant(manifest["configuration"]["variant"]).reads_prompt
        scores = summarise(read_per_case(run)) if (run / "per_case.csv").is_file() else None
        tables = {
            "Data": _data(manifest, None if phantoms else facts, f"phantoms of {title}" if phantoms else title),
            "Training": _training(manifest, image_size, backbone),
            "Metrics": _metrics(scores),
        }
        metadata = ModelCardData(
            base_model=backbone.repository if backbone and prompted else None,
            license="other",
            license_name="terms-of-the-training-data",
            library_name="telescopic-benchmark",
            pipeline_tag="image-segmentation",
            tags=[*(["clipseg", "adapters"] if prompted else []), "medical", *(["phantoms"] if phantoms else [])],
            model_name=manifest["run"],
            eval_results=[
                EvalResult("image-segmentation", dataset, tables["Data"]["images"], metric, round(scores[metric], 6))
                for metric in (SCORES if scores else ())
            ]
            or None,
        )
        return ModelCard.from_template(
            metadata,
            template_str=TEMPLATE,
            run=manifest["run"],
            title=title,
            trained=f"{manifest['trained_parameters']:,}",
            phantoms=phantoms,
            family="CLIPSeg" if prompted else "A baseline without CLIPSeg",
            ignored="" if prompted else ", which changes nothing",
            tables=tables,
            citations=[*_citations(), *([facts.citation] if facts else [])],
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise PipelineError(f"{run / 'manifest.json'}: no usable manifest ({error!r}); train the run again") from None


def _data(manifest: dict[str, Any], facts: Dataset | None, images: str) -> dict[str, str]:
    rows = {"images": images}
    if facts:
        rows |= {"source": f"{facts.homepage}, {facts.version}", "licence": facts.licence}
    return rows | {"SHA-256 of the prepared cases": manifest["data_sha256"]}


def _training(manifest: dict[str, Any], image_size: int, backbone: KnownFile | None) -> dict[str, Any]:
    configuration, best = manifest["configuration"], manifest["best_val_dsc"]
    own = f"in `backbone/`, SHA-256 {manifest['backbone_sha256']}"
    return {
        "backbone": f"{backbone.repository} at {backbone.revision}" if backbone else own,
        "variant": f"`{json.dumps(configuration['variant'])}`",
        "settings": f"`{json.dumps(configuration['training'])}`",
        "seed": configuration["seed"],
        "image size, pixels": image_size,
        "epochs": f"{manifest['epochs']}, weights of epoch {manifest['best_epoch']}",
        "validation DSC, %": "none" if best is None else f"{100 * best:.2f}",
        "precision, device": f"{manifest['precision']}, {manifest['device']['name']}",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
        "SHA-256 of the training code": manifest["code_sha256"],
    }


def _metrics(scores: dict[str, Any] | None) -> dict[str, str]:
    if not scores:
        return {"test cases": "not scored"}
    return {
        "test cases": f"{scores['cases']}, at their original size; means over cases and prompt types",
        "DSC, %": f"{100 * scores['dsc']:.2f}",
        "IoU, %": f"{100 * scores['iou']:.2f}",
        "HD95, pixels": f"{scores['hd95']:.1f}; of a missed case the image's diagonal",
        "NSD at 2 pixels, %": f"{100 * scores['nsd']:.2f}",
        "expected calibration error, %": f"{100 * scores['ece']:.2f}; of the pixels at the model's input size",
        "missed cases": f"{scores['misses']:.1f}",
    }


def _citations() -> tuple[str, str]:
    """The paper and this software, as CITATION.cff has them."""
    record = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    paper = record["preferred-citation"]

    def authors(entry: dict[str, Any]) -> str:
        return ", ".join(who.get("name") or f"{who['given-names']} {who['family-names']}" for who in entry["authors"])

    return (
        f"{authors(paper)}: {paper['title']}, {paper['collection-title']}, arXiv:2512.13855",
        f"{authors(record)}: {record['title']}, version {pipeline.__version__}",
    )

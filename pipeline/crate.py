"""Write a finished study as a Workflow Run RO-Crate (profile 0.5): what was run, on what, with what result.

    python -m pipeline crate [config.yaml overlay.yaml ...] --output STUDY.zip [--agent NAME]

It holds the workflow's rules and environment, the configuration, the datasets' cases, prompts and splits, tables,
figures, pages, and scores, histories and manifests of all runs, each with its SHA-256; of archives and weights the
SHA-256 alone. Times are those of the files. Needs rocrate.
"""

import argparse
import mimetypes
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import pipeline
from pipeline.config import read_study
from pipeline.data.sources import JOINT, dataset_facts, origin
from pipeline.plan import Plan
from pipeline.runtime.atomic import atomic_path, read_json
from pipeline.runtime.code import ROOT
from pipeline.runtime.errors import PipelineError, run_command
from pipeline.runtime.manifest import file_sha256

if TYPE_CHECKING:
    from rocrate.model import ContextEntity, DataEntity
    from rocrate.rocrate import ROCrate

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = "The workflow is under the MIT licence; what was made from a dataset, under the terms of that dataset as well."
OF_A_RUN = ("manifest.json", "history.csv", "per_case.csv")


def _entity(crate: "ROCrate", identifier: str, kind: str, **properties: Any) -> "ContextEntity":
    identifier = identifier.replace(" ", "-")
    return crate.get(identifier) or crate.add_jsonld({"@id": identifier, "@type": kind, **properties})


def _checksum(crate: "ROCrate", of: str, value: str) -> "ContextEntity":
    return _entity(crate, f"#{of} {value[:12]}", "PropertyValue", name=f"SHA-256 of {of}", value=value)


def _authors(crate: "ROCrate", record: dict[str, Any]) -> "list[ContextEntity]":
    known = {who.get("name") or f"{who['given-names']} {who['family-names']}": who for who in record["authors"]}
    kinds = {name: "Organization" if "name" in who else "Person" for name, who in known.items()}
    return [_entity(crate, f"#{name}", kind, name=name) for name, kind in kinds.items()]


def _file(crate: "ROCrate", path: Path, place: str, **properties: Any) -> "DataEntity":
    kind = mimetypes.guess_type(path)[0] or "text/plain"
    properties |= {"name": place, "sha256": file_sha256(path), "encodingFormat": kind}
    return crate.add_file(path, place, properties=properties, record_size=True)


def _folder(crate: "ROCrate", place: str, files: list[Path], **properties: Any) -> "DataEntity":
    folder = crate.add_dataset(dest_path=place, properties=properties)
    folder["hasPart"] = [_file(crate, path, f"{place}/{path.name}") for path in files]
    return folder


def _dataset(crate: "ROCrate", folder: Path, name: str, phantoms: bool) -> "DataEntity":
    """A dataset: its cases, and where its archives are from; phantoms have nothing of the dataset they stand for."""
    facts, archives = dataset_facts(name), read_json(folder / "provenance.json", dict, "run its rule again")["archives"]
    about = {"name": f"phantoms of {facts.title}", "description": "Drawn images in the layout of this dataset."}
    if not phantoms:
        about = {"name": facts.title, "version": facts.version, "url": facts.homepage, "creditText": facts.citation}
        about["license"] = _entity(crate, f"#terms of {facts.title}", "CreativeWork", name=facts.licence)
        about["description"] = "Cases, prompts and splits, without the images."
    checksums = [_checksum(crate, archive, value) for archive, value in archives.items()]
    return _folder(crate, f"datasets/{name}", [folder / "cases.csv"], identifier=checksums, **about)


def build(plan: Plan, files: list[Path], agent: str | None = None) -> "ROCrate":
    """The crate of a finished study.

    Args:
        files: config.yaml and its overlays.
        agent: who ran it; not recorded if absent.

    Raises:
        PipelineError: rocrate is not installed, or files of the study are missing or broken.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise PipelineError("rocrate is not installed; pip install rocrate") from None
    results, crate = Path(plan.study.results), ROCrate(version="1.1")
    runs = sorted({run for group in plan.groups for run in plan.trainings(group)})
    folders, targets = [Path(plan.run_folder(*run)) for run in runs], [Path(path) for path in plan.targets()]
    if missing := [path for path in (*targets, *(folder / OF_A_RUN[0] for folder in folders)) if not path.is_file()]:
        raise PipelineError(f"{missing[0]}: not made yet ({len(missing)} files are missing); finish the study first")
    manifests = [read_json(folder / OF_A_RUN[0], dict, "train the run again") for folder in folders]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors, paper = _authors(crate, citation), citation["preferred-citation"]
    crate.metadata.extra_contexts.append("https://w3id.org/ro/terms/workflow-run/context")

    mit = _entity(crate, "https://spdx.org/licenses/MIT", "CreativeWork", name="MIT", description="MIT licence")
    about = {"name": citation["title"], "version": pipeline.__version__, "license": mit, "creator": authors}
    about |= {
        "description": citation["abstract"],
        "sha256": file_sha256(ROOT / "Snakefile"),
        "encodingFormat": "text/plain",
    }
    main = crate.add_workflow(ROOT / "Snakefile", main=True, lang="snakemake", properties=about, record_size=True)
    main["hasPart"] = [
        _file(crate, path, str(path.relative_to(ROOT)))
        for folder in ("workflow/rules", "workflow/resources", "envs")
        for path in sorted((ROOT / folder).iterdir())
    ]
    main["softwareRequirements"] = [
        _entity(crate, f"#{name} {version}", "SoftwareApplication", name=name, softwareVersion=version)
        for name, version in sorted({item for manifest in manifests for item in manifest["versions"].items()})
    ]
    configuration, dataset, result = (
        crate.add_formal_parameter(name, kind, f"#{name}", valueRequired=True)
        for name, kind in {"configuration": "File", "dataset": "Dataset", "result": "File"}.items()
    )
    main["input"], main["output"] = [configuration, dataset], [result]

    inputs = [_file(crate, path, f"configuration/{path.name}", exampleOfWork=configuration) for path in files]
    for name in dict.fromkeys(origin(name) for name in plan.datasets if name != JOINT):
        inputs.append(_dataset(crate, results / "datasets" / name, name, plan.study.archives.phantoms is not None))
        inputs[-1]["exampleOfWork"] = dataset
    backbones = {manifest["backbone_sha256"] for manifest in manifests if manifest.get("backbone_sha256")}
    inputs += [_checksum(crate, "the backbone", value) for value in sorted(backbones)]
    outputs = [_file(crate, path, f"results/{path.relative_to(results)}", exampleOfWork=result) for path in targets]
    for run, folder in zip(runs, folders, strict=True):
        name, weights = "{}/{}/seed{}".format(*run), file_sha256(folder / "weights.safetensors")
        parts = [folder / part for part in OF_A_RUN if (folder / part).is_file()]
        weights = _checksum(crate, f"weights of {name}", weights)
        outputs.append(_folder(crate, f"results/runs/{name}", parts, name=f"run {name}", identifier=weights))

    seconds = [manifest.get("wall_seconds", 0) for manifest in manifests]
    started = min(
        (folder / OF_A_RUN[0]).stat().st_mtime - spent for folder, spent in zip(folders, seconds, strict=True)
    )
    times = {"startTime": started, "endTime": max(path.stat().st_mtime for path in targets)}
    devices = ", ".join(sorted({manifest["device"]["name"] for manifest in manifests}))
    what = f"{len(runs)} trainings of {sum(seconds) / 3600:.2f} hours in sum, on {devices}. {plan.note()}".strip()
    about = {key: datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds") for key, value in times.items()}
    about |= {"name": f"Run of {citation['title']}", "description": what}
    about |= {"agent": _entity(crate, f"#{agent}", "Person", name=agent)} if agent else {}
    arxiv = f"https://arxiv.org/abs/{paper['identifiers'][0]['value'].removeprefix('arXiv:')}"
    for key, value in {
        "name": f"{citation['title']}: a study",
        "description": what,
        "license": _entity(crate, "#terms", "CreativeWork", name="Terms of use", description=TERMS),
        "author": authors,
        "citation": _entity(crate, arxiv, "ScholarlyArticle", name=paper["title"], author=_authors(crate, paper)),
        "mentions": [crate.add_action(main, "#run", inputs, outputs, about)],
        "conformsTo": [_entity(crate, uri, "CreativeWork", name=name) for uri, name in PROFILES.items()],
    }.items():
        crate.root_dataset[key] = value
    return crate


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline crate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="config.yaml, then overlays", default=[Path("config.yaml")])
    parser.add_argument("--output", type=Path, required=True, help="the zip file to write")
    parser.add_argument("--agent", help="name of who ran the study")
    options = parser.parse_args()
    crate, output = build(Plan(read_study(*options.files)), options.files, options.agent), options.output
    with tempfile.TemporaryDirectory() as folder, atomic_path(output.with_suffix(".zip")) as temporary:
        crate.write(folder)  # write_zip leaves out folders, which have to be there
        shutil.make_archive(str(temporary.with_suffix("")), "zip", folder)
    print(f"{output.with_suffix('.zip')}: {len(crate.data_entities)} files and folders")


if __name__ == "__main__":
    run_command(main)

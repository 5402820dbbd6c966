"""The five real (reduced) archives from a download with cut connections to tensors and audit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_support import serve

from pipeline.data.audit import audit_dataset
from pipeline.data.integrity import verify
from pipeline.data.sources import DATASETS, SPLITS, dataset_facts
from pipeline.data.standardise import standardise
from pipeline.data.tensors import load_split, prepare
from pipeline.fetching.datasets import fetch_annotations, fetch_archives
from pipeline.runtime.errors import PipelineError

SHARED = Path(__file__).parents[2] / "../shared/data"
MISSING = {"isic16": 128}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images in ../shared/data"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """All steps up to integrity.json, for all five datasets; every archive's download is cut twice."""
    folder = tmp_path_factory.mktemp("results")
    with serve(SHARED / "archives") as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.fetching.download.FIRST_WAIT_SECONDS", 0.01)
        for dataset in DATASETS:
            for archive in dataset_facts(dataset).archives:
                size = next((SHARED / "archives" / name).stat().st_size for name in archive.names
                            if (SHARED / "archives" / name).exists())  # fmt: skip
                server.cut_after += [size // 3, size // 3, size]
            server.requests.clear()
            archives = folder / "archives" / dataset
            fetch_archives(dataset, archives, base_url=server.url, official=False)
            resumed = [wanted for _, wanted in server.requests if wanted]
            assert len(resumed) == 2 * len(dataset_facts(dataset).archives)
            assert {path.name: path.read_bytes() for path in archives.iterdir()} == {
                path.name: (SHARED / "archives" / path.name).read_bytes() for path in archives.iterdir()
            }
            annotations = folder / "annotations" / dataset
            fetch_annotations(dataset, annotations, folder=SHARED / "annotations")
            output = folder / "datasets" / dataset
            standardise(dataset, archives, annotations, "published", MISSING.get(dataset, 0), 2, output)
            verify(dataset, output, annotations, False, 2, output / "integrity.json")
    return folder


@pytest.fixture(scope="module")
def findings(results):
    return [row for dataset in DATASETS for row in audit_dataset(dataset, results / "datasets" / dataset)]


def of(findings, dataset, finding):
    return {
        row.splits: (row.value, list(row.cases)) for row in findings if (row.dataset, row.finding) == (dataset, finding)
    }


def test_counts_equal_the_split_lists(findings):
    for dataset in DATASETS:
        listed = dataset_facts(dataset).records
        used = {split: count for split, (count, _) in of(findings, dataset, "records_used").items()}
        missing = {split: count for split, (count, _) in of(findings, dataset, "missing").items()}
        assert {split: used[split] + missing.get(split, 0) for split in SPLITS} == listed
        assert sum(missing.values()) == MISSING.get(dataset, 0)
        assert sum(used.values()) == sum(listed.values()) - MISSING.get(dataset, 0)


def test_the_published_flaws_are_found(findings):
    assert of(findings, "bkai", "listed_more_than_once") == {
        "train": (1, ["04ccdc265a0b0a1230b118fa8625605d"]),
        "train-val": (2, ["a0b0a1230b118fa8625605da2023387f", "d7a36ccf1225024da63fb9a76b926334"]),
        "train-test": (1, ["cdc265a0b0a1230b118fa8625605da20"]),
    }
    isic = of(findings, "isic16", "listed_more_than_once")
    assert isic["train"] == (1, ["ISIC_0001742"])
    assert sorted(isic["train-test"][1]) == ["ISIC_0000279", "ISIC_0001184", "ISIC_0001385"]
    for dataset in ("kvasir_seg", "clinicdb", "busi"):
        assert of(findings, dataset, "listed_more_than_once") == {}


def test_empty_masks_are_the_normal_ultrasounds(findings):
    empty = of(findings, "busi", "empty_masks")
    assert {split: count for split, (count, _) in empty.items()} == {"train": 107, "val": 13, "test": 13}
    assert all(case.endswith("_normal") for _, cases in empty.values() for case in cases)


def test_near_duplicates_across_splits(findings):
    # Pairs that were looked at: the same scene, apart from brightness or a marker on the screen.
    assert of(findings, "kvasir_seg", "near_duplicate_pairs")["train-test"] == (
        1, ["cju30bmab08bi0835mvlr6e0r = cju77k828z46w0871r0avuoo9"],
    )  # fmt: skip
    assert of(findings, "busi", "identical_pairs") == {"train": (1, ["145_malignant = 433_benign"])}
    # One is called malignant, the other benign.
    assert of(findings, "busi", "identical_pairs_that_contradict") == {"train": (1, ["145_malignant = 433_benign"])}
    assert of(findings, "busi", "near_duplicate_pairs")["train-test"][0] == 35
    assert of(findings, "clinicdb", "frames_with_a_train_neighbour")["test"][0] == 52


def test_images_that_belong_to_other_masks_are_found(results, tmp_path):
    # The test above has shown that the right ones pass. Every image is exchanged with the next one.
    folder = tmp_path / "busi"
    shutil.copytree(results / "datasets/busi", folder)
    provenance = json.loads((folder / "provenance.json").read_text())
    prints = provenance["fingerprints"]
    provenance["fingerprints"] = dict(zip(prints, [*list(prints.values())[1:], prints["1_benign"]], strict=True))
    (folder / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(PipelineError, match=r"busi: images and masks do not belong together: mean contrast .* -1\.03"):
        verify("busi", folder, results / "annotations/busi", False, 2, tmp_path / "integrity.json")


def test_missing_records_must_be_allowed(results, tmp_path):
    with pytest.raises(PipelineError, match=r"isic16: 128 of 1279 records.*allow_missing: \{isic16: 128\} \(now 127\)"):
        standardise(
            "isic16", results / "archives/isic16", results / "annotations/isic16", "published", 127, 2, tmp_path / "x"
        )


def test_deduplicated_bkai(results, tmp_path):
    folders = results / "archives/bkai", results / "annotations/bkai"
    standardise("bkai", *folders, "deduplicated", 0, 2, tmp_path / "bkai")
    prepare(tmp_path / "bkai", 64, 2, tmp_path / "tensors")
    splits = {split: list(load_split(tmp_path / "tensors", split).cases["case"]) for split in SPLITS}
    assert {split: len(cases) for split, cases in splits.items()} == {"train": 796, "val": 100, "test": 100}
    assert len({case for cases in splits.values() for case in cases}) == 996


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_leak_free_split(results, tmp_path, dataset):
    archives, annotations, output = results / "archives" / dataset, results / "annotations" / dataset, tmp_path / "made"
    standardise(dataset, archives, annotations, "leak_free", MISSING.get(dataset, 0), 2, output)
    verify(dataset, output, annotations, False, 2, output / "integrity.json")
    findings = audit_dataset(dataset, output)
    across = ("identical_pairs", "near_duplicate_pairs", "successive_frames_alike", "frames_with_a_train_neighbour")
    assert not [row for row in findings if row.finding in across and ("-" in row.splits or "frames" in row.finding)]
    left_out = {split: count for split, (count, _) in of(findings, dataset, "left_out").items()}
    missing = {split: count for split, (count, _) in of(findings, dataset, "missing").items()}
    for split, (count, _) in of(findings, dataset, "records_used").items():
        published = dataset_facts(dataset).records[split] - left_out.get(split, 0) - missing.get(split, 0)
        assert abs(count - published) <= 0.05 * published
    # Of CVC-ClinicDB whole sequences are in test, two frames in three new there; of the others all but a few stay.
    stayed, used = (of(findings, dataset, name)["test"][0] for name in ("stayed", "records_used"))
    assert stayed / used > (0.1 if dataset == "clinicdb" else 0.8)


def test_boxes_of_reduced_copies_do_not_fit(results, tmp_path):
    folder, annotations = results / "datasets/kvasir_seg", results / "annotations/kvasir_seg"
    with pytest.raises(PipelineError, match=r"of 1000 annotated boxes differ.*archives\.official"):
        verify("kvasir_seg", folder, annotations, True, 2, tmp_path / "integrity.json")


def test_boxes_fit_once_they_are_scaled(results):
    # The lists' boxes are in pixels of the original: scaled to the copy they must be those of the masks, or names,
    # masks and lists would not belong together. CVC-ClinicDB is at its own size, restored from a smaller copy.
    from pipeline.data.cases import read_cases
    from pipeline.data.integrity import mask_box

    prepare(results / "datasets/clinicdb", 96, 2, results / "tensors/clinicdb")
    differences = []
    for split in SPLITS:
        data = load_split(results / "tensors/clinicdb", split)
        boxes = [case.bbox for case in read_cases(results / "datasets/clinicdb/cases.csv") if case.split == split]
        differences += [
            max(abs(one - other) for one, other in zip(mask_box(data.target(index)), box, strict=True))
            for index, box in enumerate(boxes)
        ]
    assert np.median(differences) <= 2
    assert np.mean(np.array(differences) <= 6) > 0.97

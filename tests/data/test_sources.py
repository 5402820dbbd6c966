"""The table of datasets."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from pipeline.data import sources
from pipeline.data.masks import KINDS
from pipeline.data.sources import DATASETS, SPLITS, dataset_facts, origin, table
from pipeline.runtime.errors import PipelineError

PUBLISHED = ("kvasir_seg", "clinicdb", "bkai", "isic16", "busi", "oxford_pet")


def test_datasets_are_those_of_the_study_in_its_order():
    assert DATASETS[:5] == PUBLISHED[:5]


@pytest.mark.parametrize(
    ("dataset", "records", "train_sha256"),
    [
        ("kvasir_seg", (800, 100, 100), "dbeeb45dbb244d3e298f24553ead9b5d360401e13286808409592e35d3b79d2a"),
        ("clinicdb", (490, 61, 61), "a7cc54ce840934524373ec6d8c5d398f018a43e5fe78d00f234663dd9c9915bb"),
        ("bkai", (800, 100, 100), "d1a37e0275154bac7de42cdeb8ab3e10ab7bcbe77556a0dd10fd039318203b7c"),
        ("isic16", (810, 90, 379), "9132486ee8700c79fdc2029ea513a3b351c309bace48c723b980751130b6f390"),
        ("busi", (624, 78, 78), "8549685d0208913b15e4039b4e325d0a3953d59290cf8060ac119abfeb42d19c"),
    ],
)
def test_facts(dataset, records, train_sha256):
    facts = dataset_facts(dataset)
    assert tuple(facts.records[split] for split in SPLITS) == records
    assert facts.annotations.sha256["train"] == train_sha256


def test_a_dataset_without_published_lists_is_for_other_uses():
    assert {*sources.ALL_DATASETS} - {*DATASETS} == {"oxford_pet"}
    assert dataset_facts("oxford_pet").annotations is None


def test_every_entry_can_be_used():
    for dataset in sources.ALL_DATASETS:
        facts = dataset_facts(dataset)
        assert facts.mask_kind in KINDS
        assert facts.annotations is None or len(set(facts.annotations.sha256.values())) in (0, 3)
        for archive in facts.archives:
            assert archive.url or archive.kaggle or dataset not in PUBLISHED
            for layout in archive.layouts:
                for pattern in filter(None, (layout.image, layout.mask)):
                    facts.case.format_map(dict.fromkeys(re.compile(pattern).groupindex, "x"))


def test_the_leak_free_dataset_is_made_from_another():
    assert (origin("busi_leak_free"), origin("busi")) == ("busi", "busi")
    assert dataset_facts("busi_leak_free").archives == dataset_facts("busi").archives
    assert dataset_facts("busi_leak_free").title == "BUSI, leak-free"


def test_the_sequences_of_clinicdb():
    facts = dataset_facts("clinicdb")
    sizes = Counter(facts.subject_of(str(frame), {}) for frame in range(1, 613))
    assert len(sizes) == 29
    assert [sizes[f"sequence {number}"] for number in (1, 3, 4, 10, 29)] == [25, 17, 11, 6, 21]
    assert dataset_facts("busi").subject_of("1_benign", {"class": "benign", "number": "1"}) == ""


def test_a_patient_that_the_file_names_tell():
    entry = dataset_facts("busi").model_dump() | {"subject": "patient {number}"}
    facts = sources.Dataset.model_validate(entry)
    assert facts.subject_of("1_benign", {"class": "benign", "number": "1"}) == "patient 1"
    with pytest.raises(ValueError, match="case, group and subject need named groups"):
        sources.Dataset.model_validate(entry | {"subject": "{patient}"})


def test_split_lists_come_from_the_pinned_commit():
    assert table().annotations.url.endswith("naamiinepal/medvlsm/dc36a3af83035efa344c8ce26397528ad173569e")


def test_an_unknown_dataset_names_the_known_ones():
    with pytest.raises(PipelineError, match=r"'kvasir' is unknown.*kvasir_seg"):
        dataset_facts("kvasir")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mask_kind: red_green", "mask_kinds: red_green", r"datasets\.bkai\.mask_kinds"),
        ("    title: BUSI\n", "", r"datasets\.busi\.title"),
        ("  busi:\n", "  joint:\n", r"the name 'joint' stands for datasets made of others"),
        ("    title: BUSI\n", "\ttitle: BUSI\n", "found character that cannot start any token"),
        (r"Original/(?P<case>\d+)\.tif$", r"Original/(?P<case>\d+\.tif$", "not a regular expression"),
        ('case: "{number}_{class}"', 'case: "{nummer}"', r"named groups that .* lacks: 'nummer'"),
        ("annotations:", "[" * 5000, "flow sequence"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path, monkeypatch, old, new, message):
    path = tmp_path / "datasets.yaml"
    path.write_text(sources.TABLE.read_text().replace(old, new, 1))
    monkeypatch.setattr(sources, "TABLE", path)
    sources.table.cache_clear()
    try:
        with pytest.raises(PipelineError, match=rf"datasets\.yaml: cannot be used; correct it: .*{message}"):
            _ = sources.DATASETS
    finally:
        sources.table.cache_clear()


def test_a_step_reports_a_mistake_in_the_table_in_one_line(tmp_path):
    code = (
        "import pathlib, sys; from pipeline.data import integrity, sources, standardise;"
        "from pipeline.runtime.errors import run_command; sources.TABLE = pathlib.Path('nowhere.yaml');"
        "sys.argv[1:] = '--dataset busi --folder . --annotations . --output x'.split(); run_command(integrity.main)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nowhere.yaml: cannot be used") and done.stderr.count("\n") == 1


def test_the_import_is_light():
    heavy = "{'numpy', 'pandas', 'torch', 'PIL', 'requests'}"
    code = f"import sys, pipeline.data.sources; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

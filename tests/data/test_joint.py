"""Prepared tensors of several datasets, joined."""

import data_support
import numpy as np
import pytest
from data_support import standardised

from pipeline.data.joint import join
from pipeline.data.tensors import load_split, prepare
from pipeline.runtime.errors import PipelineError


def prepared(made, folder, size=32):
    output = folder / "tensors" / f"{made.dataset}{size}"
    prepare(standardised(made, folder / made.dataset), size, 1, output)
    return output


def test_every_case_comes_with_its_images_masks_and_prompts(tmp_path):
    folders = [prepared(data_support.make_busi(), tmp_path), prepared(data_support.make_kvasir(), tmp_path)]
    join(folders, tmp_path / "joint")
    for split in ("train", "val", "test"):
        joined, parts = load_split(tmp_path / "joint", split), [load_split(folder, split) for folder in folders]
        assert list(joined.cases["case"]) == [case for part in parts for case in part.cases["case"]]
        assert list(joined.cases["prompts"]) == [prompts for part in parts for prompts in part.cases["prompts"]]
        assert (joined.images == np.concatenate([part.images for part in parts])).all()
        assert (joined.masks == np.concatenate([part.masks for part in parts])).all()
        for name in ("corrected", "reference"):
            targets = [part.target(index, name) for part in parts for index in range(len(part))]
            assert all((joined.target(index, name) == target).all() for index, target in enumerate(targets))
            assert any(target.any() for target in targets)


def test_what_does_not_fit_together_is_named(tmp_path):
    busi = prepared(data_support.make_busi(), tmp_path)
    with pytest.raises(PipelineError, match="differ in image size"):
        join([busi, prepared(data_support.make_kvasir(), tmp_path, size=48)], tmp_path / "joint")
    made = data_support.make_clinicdb()
    again = prepared(made, tmp_path / "again")
    with pytest.raises(PipelineError, match=r"both have a case '1'; rename it"):
        join([prepared(made, tmp_path), again], tmp_path / "joint")
    assert not (tmp_path / "joint").exists()

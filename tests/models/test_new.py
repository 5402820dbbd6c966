"""The command that starts a new method."""

import pytest

from pipeline.models.new import write_method
from pipeline.runtime.errors import PipelineError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("seeds: [41]\nvariants:\n  mine: { kind: lora }\nmain: [mine]\n")
    return path


def test_a_module_and_a_variant_are_written(config, tmp_path):
    module = write_method("low_rank_2", tmp_path, config)
    content = module.read_text()
    compile(content, module, "exec")
    assert (
        '@register("low_rank_2")\nclass LowRank2(LayerSettings):' in content
        and max(map(len, content.split("\n"))) < 120
    )
    variants = "variants:\n  low_rank_2: { kind: low_rank_2, label: Low rank 2 }\n  mine: { kind: lora }\n"
    assert variants in config.read_text()
    with pytest.raises(PipelineError, match="low_rank_2: there is such a kind or variant already"):
        write_method("low_rank_2", tmp_path, config)


@pytest.mark.parametrize(("name", "words"), [("Mine-2", "in small letters"), ("mine", "already"), ("lora", "already")])
def test_names_that_are_refused(config, tmp_path, name, words):
    before = config.read_text()
    with pytest.raises(PipelineError, match=words):
        write_method(name, tmp_path, config)
    assert config.read_text() == before and not list(tmp_path.glob("*.py"))


def test_a_study_without_variants_is_named(tmp_path):
    (tmp_path / "config.yaml").write_text("seeds: [41]\n")
    with pytest.raises(PipelineError, match="no line 'variants:'"):
        write_method("mine", tmp_path, tmp_path / "config.yaml")

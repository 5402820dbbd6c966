"""The configuration: what is refused, with which words, and that the schema is the typed model's."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from snakemake.utils import update_config

from pipeline.config import Study, load_study, merge, read_study, schema
from pipeline.runtime.errors import PipelineError

ROOT = Path(__file__).parents[1]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
OVERLAYS = sorted((ROOT / "workflow/config").glob("*.yaml"))


def changed(path: str, value) -> dict:
    config = copy.deepcopy(CONFIG)
    *parents, last = path.split("/")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    return config


def test_the_papers_study():
    study = load_study(CONFIG)
    assert study.datasets == ["kvasir_seg", "clinicdb", "bkai", "isic16", "busi"]
    assert study.seeds_of("lora") == [41, 42, 43] and study.seeds_of("reversed") == [*range(41, 51)]
    assert study.image_size == 352
    training = study.training_of("telescopic")
    assert (training.learning_rate, training.weight_decay, training.batch_size) == (1e-3, 1e-3, 32)
    assert (training.gradient_clip, training.plateau_factor, training.plateau_patience) == (0.5, 0.3, 5)
    assert (training.min_epochs, training.max_epochs, training.stop_patience) == (10, 200, 20)
    assert (training.dice_weight, training.bce_weight, training.precision) == (1.5, 1.0, "fp16")
    rates = {variant: study.training_of(variant).learning_rate for variant in study.main}
    assert {name: rate for name, rate in rates.items() if rate != 1e-3} == {"vlsm_shallow": 3e-4}
    # The decoder of end_to_end learns as decoder_only does; the reference's single rate is a variant of its own.
    assert study.training_of("end_to_end").learning_rates.model_dump(exclude_none=True) == {
        "encoders": 1e-5,
        "decoder": rates["decoder_only"],
    }
    assert study.training_of("end_to_end_single_rate").learning_rate == 1e-5
    protocol = training.model_dump(exclude={"learning_rate"})
    assert (protocol["warmup_steps"], protocol["decay_norms_and_biases"]) == (0, True)
    assert set(protocol["learning_rates"].values()) == {None}
    for variant in (*study.main, "end_to_end_single_rate"):
        same = study.training_of(variant).model_dump(exclude={"learning_rate"}) == protocol
        assert same == (variant != "end_to_end"), variant


def test_a_variants_rates_join_the_studys():
    config = changed("training/learning_rates", {"decoder": 2e-3, "adapters": 5e-4})
    rates = load_study(config).training_of("end_to_end").learning_rates
    assert rates.model_dump() == {"encoders": 1e-5, "decoder": 1e-3, "adapters": 5e-4}


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays_are_valid(overlay):
    below = [ROOT / "workflow/config/demo.yaml"] if overlay.stem in ("local_archives", "portable", "precision") else []
    assert read_study(ROOT / "config.yaml", *below, overlay).results != "results"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("trainig", {}, ["trainig", "no such key"]),
        ("training/learning_rat", 0.1, ["training.learning_rat", "no such key", "0.1"]),
        ("datasets", ["kvasir_seg", "kvasir"], ["datasets.1", "'kvasir'", "busi"]),
        ("datasets", ["busi", "busi"], ["datasets", "busi is listed more than once"]),
        ("seeds", [41, 42, 41], ["seeds", "41 is listed more than once"]),
        ("seeds", [], ["seeds", "at least 1"]),
        ("main", ["telescopic", "telescopik"], ["main", "'telescopik'", "vlsm_dense"]),
        ("split", "leak_free", ["leaks: the study's own split is leak_free; set leaks to null"]),
        ("test_time", {"variants": ["ssf"]}, ["test_time.variants", "'ssf' is not in main", "vlsm_dense"]),
        ("leaks/variants", ["telescopik"], ["leaks.variants", "'telescopik'", "vlsm_dense"]),
        ("image_size", 350, ["image_size", "multiple of 16", "350"]),
        ("training/batch_size", 0, ["training.batch_size", "greater than or equal to 1", "0"]),
        ("training/precision", "fp8", ["training.precision", "'bf16_residual' or 'fp32'", "fp8"]),
        ("variants/telescopic/kind", "telescope", ["variants.telescopic", "'telescope'", "allowed: adaptformer"]),
        ("variants/telescopic/text_width", 0, ["variants.telescopic.text_width", "greater than or equal to 2", "0"]),
        ("variants/telescopic/schedule", [8] * 8, ["variants.telescopic", "8 widths for 9 vision layers"]),
        ("variants/telescopic/schedule", [0] * 9, ["variants.telescopic.schedule", "greater than or equal to 8"]),
        (
            "variants/telescopic/vision_layers",
            [1, 1],
            ["variants.telescopic", "vision_layers", "listed more than once"],
        ),
        ("variants/learned/widths_from", "lora", ["variants.learned.widths_from", "'lora'", "schedule uniform"]),
        ("variants/learned/widths_from", "wide", ["variants.learned.widths_from", "'wide'"]),
        ("variants/lora/rank", 0, ["variants.lora.rank", "greater than or equal to 1"]),
        ("variants/end_to_end/training", {"learning_rate": -1}, ["variants.end_to_end.training.learning_rate", "-1"]),
        ("tuning/factors", [0.1, 0.3, 3], ["tuning.factors", "1, the method's own rate, must be among them"]),
        ("tuning/factors", [1], ["tuning.factors", "at least 2"]),
        ("tuning/variants", ["lora", "telescopik"], ["tuning.variants", "'telescopik'"]),
        ("tuning/weight_decays", [0.1], ["tuning.weight_decays: 0.001, the own one of 'decoder_only', must be among"]),
        ("tuning/tried_on", ["oxford_pet"], ["tuning.tried_on.0", "oxford_pet"]),
        ("variants/lora/training", {"learning_rate": "tuned"}, ["tuning.variants: 'lora' has the rates that this"]),
        ("variants/hump/training", {"learning_rate": "tuned"}, ["variants.hump.training.learning_rate: tuned needs"]),
        ("training/learning_rate", "tuned", ["training.learning_rate", "valid number", "tuned"]),
        ("ablations/depth/reference", "lora", ["ablations.depth.reference", "'lora'"]),
        ("ablations/alpha/variants", ["telescopic", "alpha_2"], ["ablations.alpha.variants", "'alpha_2'"]),
        ("ablations/alpha/seeds", [41, 41], ["ablations.alpha.seeds", "41 is listed more than once"]),
        ("more_seeds/seeds", [44, 44], ["more_seeds.seeds", "44 is listed more than once"]),
        ("more_seeds/variants", ["uniforn"], ["more_seeds.variants", "'uniforn'", "uniform"]),
        (
            "evaluation",
            {"comparisons_reference": "reversed"},
            ["evaluation.comparisons_reference", "'reversed'", "lora"],
        ),
        ("backbone", {"source": "web"}, ["backbone", "'hub', 'folder', 'phantom'", "web"]),
        ("archives", {"phantoms": {}, "official": True}, ["archives", "official: false"]),
        ("archives", {"allow_missing": {"isic": 3}}, ["archives.allow_missing.isic", "isic16"]),
    ],
)
def test_mistakes_are_named_with_key_value_and_mend(path, value, words):
    with pytest.raises(PipelineError) as error:
        load_study(changed(path, value))
    for word in words:
        assert word in str(error.value)


def test_every_mistake_is_named_at_once():
    config = changed("trainig", {}) | {"image_size": 10}
    with pytest.raises(PipelineError, match="trainig") as error:
        load_study(config)
    assert "image_size" in str(error.value)


def test_families_are_left_out_on_the_command_line_too():
    """Where Snakemake makes text of null."""
    for nothing in (None, "null"):
        study = load_study(CONFIG | {"leaks": nothing, "ablations": CONFIG["ablations"] | {"data": nothing}})
        assert study.leaks is None and study.ablations.keys() == CONFIG["ablations"].keys() - {"data"}


def test_schema_file_is_up_to_date():
    written = json.loads((ROOT / "workflow/schemas/config.schema.json").read_text())
    assert written == json.loads(json.dumps(schema())), (
        "run python -m pipeline.config schema workflow/schemas/config.schema.json"
    )


def test_schema_accepts_the_study_and_refuses_a_typo():
    validator = jsonschema.Draft202012Validator(schema())
    validator.validate(CONFIG)
    for path, value in [("trainig", {}), ("variants/telescopic/widht", 3), ("variants/lora/rank", 0), ("seeds", [])]:
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(changed(path, value))


def test_families_stand_in_the_order_that_snakemake_gives_them(tmp_path):
    """paper.md lists them in it, and is rendered again and compared by pipeline.verify."""
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    overlay = {"ablations": {"text": {"datasets": ["busi"]}, "depth": {"datasets": ["busi"]}}}
    (tmp_path / "overlay.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
    expected = copy.deepcopy(overlay)
    for part in (base, overlay):
        update_config(expected, part)
    found = read_study(ROOT / "config.yaml", tmp_path / "overlay.yaml")
    assert list(found.ablations) == list(expected["ablations"])
    assert list(found.ablations)[:2] == ["text", "depth"]


def test_merge_replaces_lists_and_joins_mappings():
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": 4}, {"a": {"c": [3]}}) == {"a": {"b": 1, "c": [3]}, "d": 4}


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere\.yaml: cannot be read"):
        read_study(tmp_path / "nowhere.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1")
    with pytest.raises(PipelineError, match=r"broken\.yaml: not valid YAML"):
        read_study(tmp_path / "broken.yaml")


def test_null_in_a_variant_survives_the_way_to_the_job():
    settings = {"kind": "telescopic", "text_width": None, "schedule": "uniform"}
    study = load_study(changed("variants/telescopic", settings))
    dumped = study.variants["telescopic"].settings.model_dump(mode="json")
    again = Study.model_validate(changed("variants/telescopic", dumped)).variants["telescopic"].settings
    assert (again.schedule, again.text_width) == ("uniform", None)

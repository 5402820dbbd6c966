"""Fingerprints, duplicates and near duplicates."""

import json

import data_support
import numpy as np
from PIL import Image

from pipeline.data.fingerprints import Fingerprint, find_pairs, fingerprint


def scenes(count, seed=0):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(data_support.scene(rng, (160, 120))) for _ in range(count)]


def test_a_fingerprint_survives_json():
    value = fingerprint(scenes(1)[0])
    again = Fingerprint.from_json(json.loads(json.dumps(value.to_json())))
    assert (again.pixels, again.phash) == (value.pixels, value.phash)
    assert (again.thumbnail == value.thumbnail).all()


def test_near_duplicates_are_told_from_other_images():
    originals = scenes(12)
    frame = Image.new("L", (160, 120))
    frame.paste(255, (30, 20, 130, 100))
    black = Image.new("RGB", (160, 120))
    # The same black frame on every image, as an endoscope leaves it.
    images = [Image.composite(scene, black, frame) for scene in originals]
    darker = images[0].point(lambda level: level * 0.8)
    smaller = images[1].resize((80, 60)).resize((160, 120))
    prints = {str(index): fingerprint(image) for index, image in enumerate(images)}
    prints |= {"darker": fingerprint(darker), "smaller": fingerprint(smaller), "same": fingerprint(images[2].copy())}
    found = {(pair.first, pair.second): pair.kind for pair in find_pairs(prints)}
    assert found == {("0", "darker"): "near", ("1", "smaller"): "near", ("2", "same"): "exact"}


def test_two_images_are_compared_without_a_mean():
    one, two = scenes(2)
    assert find_pairs({"a": fingerprint(one), "b": fingerprint(two)}) == []
    (pair,) = find_pairs({"a": fingerprint(one), "b": fingerprint(one.point(lambda level: level // 2))})
    assert pair.kind == "near"
    assert pair.similarity > 0.99
    assert find_pairs({"a": fingerprint(one)}) == []

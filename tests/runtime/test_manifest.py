"""What a result was made from."""

import hashlib
import json

from pipeline.runtime.manifest import file_sha256, manifest


def test_a_manifest_is_json_with_versions_and_device():
    record = json.loads(json.dumps(manifest("cpu", seed=41)))
    assert record["seed"] == 41
    assert record["versions"]["torch"].startswith("2.")
    assert record["device"]["type"] == "cpu"


def test_a_files_hash(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()

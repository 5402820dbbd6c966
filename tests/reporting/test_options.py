"""Display names."""

from pipeline.reporting.options import label


def test_names_come_from_the_labels_then_from_what_is_fixed():
    labels = {"lora": "LoRA, r = 9", "busi": "BUSI", "empty": ""}
    assert [label(labels, key) for key in ("lora", "busi", "san", "average", "new", "empty")] == [
        *("LoRA, r = 9", "BUSI", "SAN", "Average", "new", "empty")
    ]

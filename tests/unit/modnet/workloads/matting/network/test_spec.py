"""A spec survives JSON, and an impossible one is refused with a reason."""

import json

import pytest

from modnet.errors import CheckpointError
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.mark.parametrize("spec", [ModnetSpec.full(), ModnetSpec.tiny()], ids=["full", "tiny"])
def test_from_json_gives_equal_spec_when_written_by_pydantic(spec: ModnetSpec) -> None:
    assert ModnetSpec.from_json(spec.model_dump_json()) == spec


def test_full_has_the_published_residual_connections() -> None:
    residual = [index + 1 for index, block in enumerate(ModnetSpec.full().blocks) if block.residual]
    assert residual == [3, 5, 6, 8, 9, 10, 12, 13, 15, 16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("lr8x"), "lr8x: Field required"),
        (lambda s: s.update(lr8x={"batch": 0, "instance": 0}), "at least 1 channel"),
        (lambda s: s["blocks"][1].update(in_channels=9), "block 1 reads 9 channels, but 8 arrive there"),
        (lambda s: s["blocks"][1].update(residual=True), "a residual block needs stride 1"),
        (lambda s: s["blocks"][0].update(hidden_channels=5), "as many hidden as input channels"),
        (lambda s: s.update(enc4x_block=0), "enc4x_block = 0 is not a block"),
        (lambda s: s.update(stem_channels=0), "stem_channels"),
        (lambda s: s.update(new_field=1), "new_field"),
    ],
    ids=["missing", "empty", "unconnected", "residual", "hidden", "tap", "zero", "unknown"],
)
def test_from_json_raises_with_reason_when_spec_is_impossible(change, message: str) -> None:
    spec = json.loads(ModnetSpec.tiny().model_dump_json())
    change(spec)
    with pytest.raises(CheckpointError, match=message):
        ModnetSpec.from_json(json.dumps(spec))


@pytest.mark.parametrize("text", ["", "[]", "{", '"spec"'])
def test_from_json_raises_when_text_is_no_spec(text: str) -> None:
    with pytest.raises(CheckpointError, match="not a ModnetSpec"):
        ModnetSpec.from_json(text)


def test_from_json_raises_when_backbone_does_not_end_at_one_32nd() -> None:
    spec = json.loads(ModnetSpec.tiny().model_dump_json())
    spec["blocks"][-1]["stride"] = 1
    with pytest.raises(CheckpointError, match=r"must end at 1/32 of the input size, got 1/16"):
        ModnetSpec.from_json(json.dumps(spec))

"""ModelCompression's JSON is compared entry by entry with the tensors beside it."""

import json
from pathlib import Path

import pytest

from modnet.errors import CheckpointError
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.modelcompression_info import prune_info, require_agreement

SPEC = ModnetSpec.full()


def written(folder: Path, changes: dict) -> Path:
    path = folder / "info.json"
    path.write_text(json.dumps(prune_info(SPEC, threshold=0.5, ratio=0.0) | changes))
    return path


def test_prune_info_describes_the_unpruned_network() -> None:
    assert prune_info(SPEC, threshold=0.5, ratio=0.0) == {
        "ratio": 0.0,
        "threshold": 0.5,
        "new_cfg": [32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320, 1280],
        "new_expansion_cfg": [1] + 16 * [6],
        "new_lr_channels": [32, 96],
        "new_hr_channels": [16, 24],
        "new_f_channels": [32],
    }


def test_require_agreement_accepts_what_describes_the_network(tmp_path: Path) -> None:
    require_agreement(SPEC, written(tmp_path, {"threshold": 0.1}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"new_cfg": [32, 16]}, r"new_cfg is \[32, 16\] there"),
        ({"new_expansion_cfg": [1] + 16 * [5]}, "new_expansion_cfg is"),
        ({"new_lr_channels": [32, 88]}, r"the tensors have \[32, 96\]"),
        ({"new_hr_channels": [8, 8]}, "new_hr_channels is"),
        ({"new_f_channels": [16]}, "new_f_channels is"),
        ({"ratio": 0.5}, r"ratio \(detail width\) is 16 there, the tensors have 32"),
        ({"ratio": "half"}, "not ModelCompression's prune info"),
        ({"ratio": float("inf")}, "not ModelCompression's prune info"),
        ({"ratio": None}, "not ModelCompression's prune info"),
    ],
    ids=["outputs", "expansions", "lr", "hr", "f", "ratio", "a word", "infinite", "nothing"],
)
def test_require_agreement_raises_when_an_entry_is_of_another_network(
    tmp_path: Path, changes: dict, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        require_agreement(SPEC, written(tmp_path, changes))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "\xff", "[" * 100_000],
    ids=["empty", "cut off", "list", "no entries", "latin", "deep"],
)
def test_require_agreement_raises_when_file_is_no_prune_info(tmp_path: Path, text: str) -> None:
    path = tmp_path / "info.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match="info.json is not ModelCompression's prune info"):
        require_agreement(SPEC, path)


def test_require_agreement_raises_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read prune info"):
        require_agreement(SPEC, tmp_path / "nothing.json")

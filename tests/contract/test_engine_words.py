"""The engine's settings speak of no workload: matting's words are matting's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modnet.config import FORMER_NAMES
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec

MODNET = Path(__file__).resolve().parents[2] / "modnet"
FILES = [MODNET / "config.py", MODNET / "targets.py", *(MODNET / "configs").glob("*.py")]
FILES += [path for folder in ("policies", "records") for path in (MODNET / folder).glob("*.py")]
BRANCHES = {name for name, _ in MODNet(ModnetSpec.tiny()).named_children()} - {"backbone"}  # which others have as well
LAYERS = {field for field in ModnetSpec.model_fields if re.search(r"\d", field)}
WORDS = {"matte", "mattes", "matting", "alpha", "trimap", "portrait", "portraits", "hair", "person", "persons"}


def words(text: str) -> set[str]:
    """Those of sentences, and those that names are made of; `MODNet` as it is written, as `modnet` is the package."""
    for former in ("MODNet-ModelCompression", *FORMER_NAMES):  # a publication, whose rule is a policy; of 0.1.0
        text = text.replace(former, "")
    return {word if word == "MODNet" else word.lower() for word in re.findall(r"[A-Za-z0-9]+", text)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(MODNET)))
def test_settings_and_records_of_the_engine_have_no_word_of_matting(path: Path) -> None:
    found = words(path.read_text()) & (WORDS | BRANCHES | LAYERS | {"MODNet"})
    assert not found, f"{path.relative_to(MODNET)} says {sorted(found)}: it belongs to modnet/workloads/matting"


def test_the_words_are_those_of_the_network() -> None:
    assert {"semantic", "detail", "fusion"} <= BRANCHES
    assert LAYERS

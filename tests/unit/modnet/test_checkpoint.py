"""Our layout round-trips; published layouts give the outputs recorded from the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modnet.checkpoint import FORMAT, save_checkpoint, to_bytes
from modnet.errors import CheckpointError
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.weights import NAMED, SHIPPED_BASE, checkpoint_path


def saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def assert_outputs(network: MODNet, image: torch.Tensor, recorded: dict) -> None:
    with torch.inference_mode():
        prediction = network(image)
    for name, got in (("semantic", prediction.semantic), ("detail", prediction.detail), ("matte", prediction.alpha)):
        wanted, values = recorded[name], got.numpy()
        assert list(values.shape) == wanted["shape"]
        probe = values.flatten()[:: max(1, values.size // 16)][:16]
        np.testing.assert_allclose(probe, wanted["probe"], rtol=0, atol=1e-4)
        np.testing.assert_allclose([values.mean(), values.std()], [wanted["mean"], wanted["std"]], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "layout"),
    [("seed_visible.json", "modelcompression"), ("official_visible.json", "official")],
    ids=["modelcompression", "official"],
)
def test_load_reproduces_recorded_outputs_when_checkpoint_is_published(
    recordings, tmp_path: Path, file: str, layout: str
) -> None:
    recorded = recordings.read(file)
    salt, recorded = recorded["salt"], recorded.get("base", recorded)
    checkpoint = read_checkpoint(saved(recordings.state(recorded["keys"], salt), tmp_path / "published.ckpt"))
    assert checkpoint.layout == layout
    assert checkpoint.network.spec == ModnetSpec.full()
    assert_outputs(checkpoint.network, recordings.image(), recorded["outputs"])


@pytest.mark.parametrize("case", range(3))
def test_load_reproduces_recorded_outputs_when_modelcompression_checkpoint_is_pruned(
    recordings, tmp_path: Path, case: int
) -> None:
    recorded = recordings.read("seed_visible.json")
    pruned = recorded["cases"][case]
    info = tmp_path / "pruned.json"
    info.write_text(json.dumps(pruned["prune_info"]))
    network = load(saved(recordings.state(pruned["keys"], recorded["salt"]), tmp_path / "pruned.ckpt"), info)
    assert sum(p.numel() for p in network.parameters()) == pruned["parameters"]
    assert_outputs(network, recordings.image(), pruned["outputs"])


def test_load_raises_when_prune_info_is_of_another_checkpoint(recordings, tmp_path: Path) -> None:
    recorded = recordings.read("seed_visible.json")
    info = tmp_path / "pruned.json"
    info.write_text(json.dumps(recorded["cases"][1]["prune_info"] | {"ratio": 0.5, "threshold": 0.5}))
    checkpoint = saved(recordings.state(recorded["cases"][0]["keys"], 0), tmp_path / "pruned.ckpt")
    with pytest.raises(CheckpointError, match="new_cfg is"):
        load(checkpoint, info)


def test_save_checkpoint_gives_back_spec_weights_and_provenance_when_read(tmp_path: Path) -> None:
    network = MODNet(ModnetSpec.tiny())
    path = save_checkpoint(network, tmp_path / "deep" / "tiny.safetensors", {"base": "abc", "epochs": 3})
    checkpoint = read_checkpoint(path)
    assert checkpoint.provenance == {"base": "abc", "epochs": 3}
    assert checkpoint.network.spec == network.spec
    assert all(
        torch.equal(tensor, checkpoint.network.state_dict()[name]) for name, tensor in network.state_dict().items()
    )
    assert [p.name for p in path.parent.iterdir()] == ["tiny.safetensors"]


def test_save_checkpoint_rounds_weights_and_keeps_norms_when_half(tmp_path: Path) -> None:
    network = MODNet(ModnetSpec.tiny())
    whole = save_checkpoint(network, tmp_path / "whole.safetensors", {})
    half = save_checkpoint(network, tmp_path / "half.safetensors", {}, half=True)
    assert half.stat().st_size < 0.65 * whole.stat().st_size
    read = load(half).state_dict()
    for name, tensor in network.state_dict().items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.half().float() if tensor.dim() > 1 else tensor), name


def test_to_bytes_are_the_same_every_time() -> None:
    """safetensors orders several metadata entries by a hash that is drawn anew each time."""
    network = MODNet(ModnetSpec.tiny())
    assert len({to_bytes(network, {"a": 1, "b": {"c": 2}}) for _ in range(20)}) == 1


@pytest.mark.parametrize(
    "header", ["{", "[]", "{}", '{"format": "modnet-checkpoint-1"}', '{"format": "modnet-checkpoint-9"}']
)
def test_load_raises_when_header_is_not_ours(tmp_path: Path, header: str) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"modnet": header})
    with pytest.raises(CheckpointError, match="a.safetensors"):
        load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("width", [10**13, 10**30], ids=["too large", "beyond 64 bits"])
def test_load_raises_before_it_builds_the_network_when_its_header_asks_for_too_much(tmp_path: Path, width: int) -> None:
    spec = ModnetSpec.tiny().model_dump() | {"last_channels": width}
    header = {"format": FORMAT, "spec": spec, "provenance": {}}
    save_file(MODNet(ModnetSpec.tiny()).state_dict(), tmp_path / "a.safetensors", {"modnet": json.dumps(header)})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load(tmp_path / "a.safetensors")


def test_save_checkpoint_raises_when_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "file" / "tiny.safetensors", {})


@pytest.mark.parametrize("size", [0, 3, 100, 5000], ids=lambda n: f"{n}-bytes")
def test_load_raises_when_file_is_cut_off(tmp_path: Path, size: int) -> None:
    path = save_checkpoint(MODNet(ModnetSpec.tiny()), tmp_path / "tiny.safetensors", {})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="tiny.safetensors"):
        load(path)


def test_load_raises_when_torch_file_is_cut_off(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:300])
    with pytest.raises(CheckpointError, match="cannot read"):
        load(tmp_path / "a.ckpt")


class _Hostile:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "content",
    [{"features.0.weight": torch.zeros(3)}, [1, 2], {"a": {"b": torch.zeros(1)}}, {0: torch.zeros(1)}, _Hostile()],
    ids=["another network", "a list", "nested", "numbered", "code"],
)
def test_load_raises_when_torch_file_is_no_modnet(
    tmp_path: Path, content: object, capsys: pytest.CaptureFixture
) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match="other.ckpt"):
        load(tmp_path / "other.ckpt")
    assert capsys.readouterr().out == ""


def test_checkpoint_path_is_the_projects_own_file_for_its_name_and_a_path_otherwise() -> None:
    assert checkpoint_path("shipped") == SHIPPED_BASE
    assert checkpoint_path("./shipped") == Path("shipped")
    assert checkpoint_path("some/base.ckpt") == Path("some/base.ckpt")


def test_load_says_that_the_installation_is_broken_when_the_shipped_base_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NAMED, "shipped", tmp_path / "base.safetensors")
    with pytest.raises(CheckpointError, match="this installation lacks"):
        load(checkpoint_path("shipped"))


def test_load_raises_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load(tmp_path / "nothing.safetensors")

"""`modnet prune --network`: a network of somebody's own file, from its folder to the code that uses the result."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from modnet.pruning.plan import PruningPlan
from modnet.pruning.surgery import apply_plan

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., tuple[int, str]]

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.left, self.right = nn.Conv2d(16, 12, 3, padding=1), nn.Conv2d(16, 12, 1)
        self.head = nn.Linear(24, classes)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.cat((self.left(x), self.right(x)), dim=1).mean(dim=(2, 3)))

class Odd(Net):
    def forward(self, x):
        return super().forward(torch.fft.fft2(self.stem[0](x)).real[:, :3])

def net(): return Net()
def odd(): return Odd()
def needs(one): return Net()
def broken(): raise KeyError("weights")
def number(): return 3
def whole(): return nn.Conv2d(3, 4, 1)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the current folder, whose name no test before has imported."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


ASKED = ("--example", "2x3x16x16", "--policy", "uniform", "--ratio", 0.5, "--channel-multiple", 2, "--min-channels", 2)


def test_prune_prunes_a_network_of_ones_own_by_command(own: str, tmp_path: Path, run: Run) -> None:
    said = run("prune", "--network", f"{own}:net", *ASKED, "--criterion", "l1", "--out", "out")
    assert said["parameters"] < 0.55 * said["before"]["parameters"]
    assert said["kept"] == {"head": "is an output of the network", "input": "is an input of the network"}
    assert (tmp_path / "out/channels.png").read_bytes().startswith(b"\x89PNG")

    network = sys.modules[own].net
    plan = PruningPlan.from_json((tmp_path / "out/plan.json").read_text())
    rebuilt = apply_plan(network(), plan)
    rebuilt.load_state_dict(load_file(tmp_path / "out/pruned.safetensors"))
    assert rebuilt.stem[0].out_channels == len(rebuilt.stem[0].weight) == 8
    assert rebuilt.head.in_features == 12
    assert rebuilt(torch.zeros(1, 3, 16, 16)).shape == (1, 5)


def test_prune_takes_weights_and_repeats_a_plan(own: str, tmp_path: Path, run: Run) -> None:
    run("prune", "--network", f"{own}:net", *ASKED, "--out", "first")
    torch.manual_seed(1)
    trained = sys.modules[own].net().state_dict()
    save_file(trained, tmp_path / "trained.safetensors")
    torch.save(trained, tmp_path / "trained.pt")
    for weights in ("trained.safetensors", "trained.pt"):
        asked = ("prune", "--network", f"{own}:net", "--weights", weights)
        run(*asked, *ASKED, "--out", f"out-{weights}")
    both = [(tmp_path / f"out-trained.{kind}/pruned.safetensors").read_bytes() for kind in ("safetensors", "pt")]
    assert both[0] == both[1]
    plan = "out-trained.pt/plan.json"
    run("prune", "--network", f"{own}:net", "--weights", "trained.pt", "--plan", plan, "--out", "again")
    assert (tmp_path / "again/pruned.safetensors").read_bytes() == both[0]


@pytest.mark.parametrize(
    "policy",
    [
        ("global-threshold", "--share", 0.3),
        ("budget", "--max-parameters", 2500),
        ("layer-ratios", "--pruned-params", "stem*,left", "--pruned-ratios", "0.5,0.5"),
        ("adaptive",),
        ("latency", "--max-ms", 1000),
    ],
    ids=lambda policy: policy[0],
)
def test_prune_has_every_policy_for_a_network_of_ones_own(policy: tuple[object, ...], own: str, run: Run) -> None:
    said = run("prune", "--network", f"{own}:net", *ASKED[:2], *ASKED[6:], "--policy", *policy, "--out", "out")
    assert 0 < said["parameters"] <= said["before"]["parameters"]


def test_prune_keeps_what_it_cannot_follow_when_asked(own: str, run: Run, refuse: Refuse) -> None:
    asked = ("prune", "--network", f"{own}:odd", *ASKED, "--out", "out")
    code, words = refuse(*asked)
    assert code == 3
    assert "channels cannot be followed: aten.fft_fft2.default in the network itself is not followed" in words
    said = run(*asked, "--keep-unknown")
    assert "aten.fft_fft2.default" in said["kept"]["stem.0"]


def test_prune_shows_groups_and_why_channels_stay(own: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tasks.cli", "prune", "--network", f"{own}:net", *map(str, ASKED), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "| stem.0 | 16 | 8 | 50.0% | adaptive | stem.0 | left, right |" in done.stdout
    assert "| right | 12 | 6 | 50.0% | adaptive | right | head[12:24] |" in done.stdout
    assert "| head | is an output of the network |" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("network", "flags", "code", "message"),
    [
        ("net", (), 3, "--network: got 'net', wanted package.module:factory"),
        ("nowhere.to.be:found", (), 3, "--network nowhere.to.be:found: ModuleNotFoundError: No module named 'nowhere'"),
        ("OWN:missing", (), 3, "AttributeError: module .* has no attribute 'missing'"),
        ("OWN:needs", (), 3, "TypeError: needs.. missing 1 required positional argument: 'one'"),
        ("OWN:broken", (), 3, "KeyError: 'weights'"),
        ("OWN:number", (), 3, "gave a int, wanted a torch.nn.Module"),
        ("OWN:whole", (), 3, "OWN:whole has no channels that can go: is an input of the network; is an output"),
        ("OWN:net", ("--weights", "missing.pt"), 3, "cannot read weights missing.pt: No such file"),
        ("OWN:net", ("--weights", "cut.safetensors"), 3, "weights cut.safetensors are damaged"),
        ("OWN:net", ("--weights", "other.safetensors"), 3, "weights other.safetensors do not fit Net: .*Missing key"),
        (
            "OWN:net",
            ("--weights", "nan.safetensors"),
            3,
            "nan.safetensors: stem.0.bias holds values that are not finite",
        ),
        ("OWN:net", ("--checkpoint", "x"), 2, "exactly one of --checkpoint and --network"),
        ("OWN:net", ("--criterion", "taylor"), 2, "--network takes no --criterion taylor"),
        ("OWN:net", ("--iterations", "2"), 2, "--iterations belongs to --checkpoint"),
    ],
)
def test_prune_says_what_is_wrong_with_a_network_of_ones_own(
    network: str, flags: tuple[str, ...], code: int, message: str, own: str, tmp_path: Path, refuse: Refuse
) -> None:
    sound = {"stem.0.bias": torch.tensor([float("nan")] * 16)}
    space: dict[str, Any] = {}
    exec(OWN, space)
    state = space["net"]().state_dict()
    save_file(sound, tmp_path / "other.safetensors")
    save_file({**state, **sound}, tmp_path / "nan.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "nan.safetensors").read_bytes()[:300])
    got, words = refuse("prune", "--network", network.replace("OWN", own), *ASKED, *flags, "--out", "out")
    assert got == code, words
    assert re.search(message.replace("OWN", own), words), words
    assert not (tmp_path / "out").exists()


def test_prune_needs_an_example_and_nothing_that_belongs_to_a_network_of_ones_own(refuse: Refuse) -> None:
    assert "--network needs --example" in refuse("prune", "--network", "a:b", "--out", "out")[1]
    assert "--weights belongs to --network" in refuse("prune", "--checkpoint", "x", "--weights", "y", "--out", "o")[1]

"""`modnet prune`: each policy with its own flags, and no other's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from modnet.checkpoint import save_checkpoint
from modnet.pruning.complexity import complexity
from modnet.pruning.plan import PruningPlan
from modnet.workloads.matting.checkpoint import load, read_checkpoint
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks.cli import main

Run = Callable[..., dict]
Refuse = Callable[..., tuple[int, str]]

NARROW = ("--channel-multiple", 2, "--min-channels", 2)


def test_prune_drops_the_instance_norm_of_batch_only_layers(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    flags = ("--policy", "uniform", "--ratio", 0, "--batch-only", "fusion.head_features,detail.hr2x.*")
    spec = load(run("prune", "--checkpoint", checkpoint, *flags, "--out", tmp_path / "out")["checkpoint"]).spec
    assert [width.instance for width in (spec.fusion_head, *spec.hr2x)] == [0] * 5
    assert spec.f2x.instance > 0


@pytest.mark.parametrize(
    ("flags", "policy"),
    [
        (
            ("--backbone-threshold", 0.4, "--global-ratio", 0.3),
            {"kind": "adaptive", "backbone_threshold": 0.4, "global_ratio": 0.3},
        ),
        (("--policy", "uniform", "--ratio", 0.4), {"kind": "uniform", "ratio": 0.4}),
        (
            ("--policy", "layer-ratios", "--pruned-params", "backbone.last, detail.*", "--pruned-ratios", "0.3,0.4"),
            {
                "kind": "layer-ratios",
                "ratios": [{"pattern": "backbone.last", "ratio": 0.3}, {"pattern": "detail.*", "ratio": 0.4}],
            },
        ),
        (
            ("--policy", "global-threshold", "--share", 0.3, "--floor", 0.2),
            {"kind": "global-threshold", "share": 0.3, "floor": 0.2},
        ),
        (
            ("--policy", "budget", "--max-macs", "0.4G", "--max-parameters", "30K", "--floor", 0.05),
            {"kind": "budget", "max_macs": 400_000_000, "max_parameters": 30_000, "floor": 0.05},
        ),
    ],
    ids=["adaptive", "uniform", "layer-ratios", "global-threshold", "budget"],
)
def test_prune_follows_the_policy_that_its_flags_say(
    flags: tuple, policy: dict, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    pruned = run("prune", "--checkpoint", checkpoint, *flags, *NARROW, "--criterion", "l2", "--out", tmp_path / "out")
    plan = PruningPlan.from_json((tmp_path / "out" / "plan.json").read_bytes())
    assert json.loads(plan.config.policy.model_dump_json()) == policy
    assert plan.config.criterion == "l2"
    assert (plan.parameters, plan.macs) == (pruned["parameters"], pruned["macs"])
    assert pruned["parameters"] < pruned["before"]["parameters"]
    assert complexity(load(pruned["checkpoint"])).macs == pruned["macs"]


def test_prune_remembers_what_the_network_was_before(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    pruned = run("prune", "--checkpoint", checkpoint, *NARROW, "--out", tmp_path / "out")
    provenance = read_checkpoint(pruned["checkpoint"]).provenance
    assert ModnetSpec.model_validate(provenance["parent_spec"]) == ModnetSpec.tiny()
    assert provenance["pruning"]["policy"]["kind"] == "adaptive"


def test_prune_repeats_a_plan_to_the_identical_file(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    first = run("prune", "--checkpoint", checkpoint, *NARROW, "--out", tmp_path / "first")
    second = run("prune", "--checkpoint", checkpoint, "--plan", first["plan"], "--out", tmp_path / "second")
    assert Path(first["checkpoint"]).read_bytes() == Path(second["checkpoint"]).read_bytes()
    assert Path(first["plan"]).read_bytes() == Path(second["plan"]).read_bytes()


def test_prune_looks_at_the_data_set_when_the_criterion_is_taylor(
    archive: Path, checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    taylor = ("--criterion", "taylor", "--taylor-images", 1, "--dataset", archive, *NARROW)
    pruned = run("prune", "--checkpoint", checkpoint, "--policy", "uniform", *taylor, "--out", tmp_path)
    assert PruningPlan.from_json(Path(pruned["plan"]).read_bytes()).config.taylor_images == 1


@pytest.mark.slow
def test_prune_measures_until_the_network_is_fast_enough(checkpoint: Path, tmp_path: Path, run: Run) -> None:
    latency = ("--policy", "latency", "--max-ms", 100_000, "--threads", 1)
    pruned = run("prune", "--checkpoint", checkpoint, *latency, *NARROW, "--out", tmp_path)
    assert pruned["limits"] == {"ms": 100_000}
    assert 0 < pruned["ms"] < 100_000
    assert pruned["macs"] == pruned["before"]["macs"]


def test_prune_shows_the_closing_measurement_and_fails_when_none_is_within_the_limit(
    checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A millisecond per MMAC; the unpruned network runs beside all others, and a busy machine takes twice as long."""
    slowdown = [1.0]

    def measure(networks: Sequence[MODNet]) -> list[float]:
        is_closing = len(networks) == 2
        return [complexity(network).macs / 1e6 * (slowdown[0] if is_closing else 1) for network in networks]

    monkeypatch.setattr("tasks.pruning_evidence.measure_latency", lambda threads: measure)
    whole = complexity(load(checkpoint)).macs / 1e6
    common = ("prune", "--checkpoint", checkpoint, "--policy", "latency", "--max-ms", whole / 2, *NARROW)
    pruned = run(*common, "--out", tmp_path / "quiet")
    assert pruned["ms"] == pytest.approx(complexity(load(pruned["checkpoint"])).macs / 1e6)
    assert 0.85 * whole / 2 <= pruned["ms"] <= whole / 2
    assert pruned["before"]["ms"] == pytest.approx(whole)
    assert pruned["remarks"] == []

    slowdown[0] = 2.0
    code, error = refuse(*common, "--out", tmp_path / "busy")
    assert code == 1
    assert f"wanted at most {whole / 2:.1f} ms: got " in error
    assert f"The unpruned network took {whole:.1f} to {2 * whole:.1f} ms meanwhile" in error
    assert not (tmp_path / "busy").exists()


def test_prune_says_what_stopped_a_global_threshold(
    checkpoint: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture
) -> None:
    asked = ("prune", "--checkpoint", checkpoint, "--policy", "global-threshold", "--share", 0.97, "--floor", 0.001)
    shares, stops = run(*asked, *NARROW, "--out", tmp_path / "json")["remarks"]
    assert shares.startswith("97.0% of ")
    assert "with floor 0.001, min_channels 2, channel_multiple 2; without these " in shares
    assert stops.startswith("min_channels 2 stopped ")
    assert main([*map(str, asked), *map(str, NARROW), "--out", str(tmp_path / "text")]) == 0
    assert f"\n\n{shares}\n\n{stops}\n" in capsys.readouterr().out


def test_prune_lets_consumers_take_up_what_is_left_behind_when_asked(
    checkpoint: Path, tmp_path: Path, run: Run
) -> None:
    shifted = MODNet(ModnetSpec.tiny())
    shifted.load_state_dict(load(checkpoint).state_dict())
    with torch.no_grad():
        for name, tensor in shifted.named_parameters():
            if "norm" in name and name.endswith("bias"):
                tensor += 0.5
    shifted_file = save_checkpoint(shifted, tmp_path / "shifted.safetensors", {})
    common = ("prune", "--checkpoint", shifted_file, *NARROW)
    plain = load(run(*common, "--out", tmp_path / "plain")["checkpoint"]).state_dict()
    compensated = load(run(*common, "--compensate", "--out", tmp_path / "compensated")["checkpoint"]).state_dict()
    changed = {name for name, tensor in plain.items() if not torch.equal(tensor, compensated[name])}
    assert changed
    assert all(name.endswith(("running_mean", "bias")) for name in changed)


def test_prune_in_steps_arrives_at_the_budget(archive: Path, checkpoint: Path, tmp_path: Path, run: Run) -> None:
    training = ("--epochs", 1, "--batch-size", 2, "--image-size", 64, "--precision", "fp32", "--dataset", archive)
    budget = ("--policy", "budget", "--max-macs", "200M", "--iterations", 2)
    pruned = run("prune", "--checkpoint", checkpoint, *budget, *NARROW, *training, "--out", tmp_path / "steps")
    assert len(pruned["steps"]) == 2
    assert pruned["steps"][-1] == pruned["checkpoint"]
    assert pruned["macs"] <= 200_000_000
    assert run("inspect", "--checkpoint", pruned["checkpoint"])["macs"] == pruned["macs"]


def test_prune_writes_modelcompression_files_when_the_policy_is_modelcompression(tmp_path: Path, run: Run) -> None:
    torch.manual_seed(0)
    base = save_checkpoint(MODNet(ModnetSpec.full()), tmp_path / "full.safetensors", {})
    flags = ("--policy", "modelcompression", "--backbone-threshold", 0.3, "--global-ratio", 0.5, "--inherit")
    pruned = run("prune", "--checkpoint", base, *flags, "--out", tmp_path / "modelcompression")
    assert Path(pruned["checkpoint"]).name == "modnet_p_ratio_0.5_thresh_0.3.ckpt"
    again = run("inspect", "--checkpoint", pruned["checkpoint"], "--prune-info", pruned["prune_info"])
    assert again["parameters"] == pruned["parameters"] < pruned["before"]["parameters"]


def test_prune_refuses_the_word_of_0_1_0_with_that_of_now(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["prune", "--checkpoint", "x", "--out", "y", "--policy", "target", "--max-macs", "3G"])
    assert caught.value.code == 2
    assert "is called budget now: --policy budget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--policy uniform --share 0.3", "--share belongs to --policy global-threshold, got --policy uniform"),
        ("--ratio 0", "--ratio belongs to --policy uniform, got --policy adaptive"),
        ("--policy modelcompression --criterion l2", "--criterion belongs to --policy adaptive or"),
        ("--policy modelcompression --compensate", "--compensate belongs to --policy adaptive or"),
        ("--policy budget", "--policy budget needs --max-macs, --max-parameters or both"),
        ("--policy latency", "--policy latency needs --max-ms"),
        ("--policy layer-ratios --pruned-params a", "--policy layer-ratios needs --pruned-ratios"),
        ("--criterion taylor", "--criterion taylor looks at images: say on which data set with --dataset"),
        ("--dataset synthetic", "--dataset would do nothing"),
        ("--taylor-images 3", "--taylor-images belongs to --criterion taylor"),
        ("--policy budget --max-macs 1G --iterations 2", "--iterations retrains: say on which"),
        ("--policy uniform --iterations 2", "--iterations belongs to --policy global-threshold or budget"),
        ("--epochs 3", "--epochs belongs to --iterations"),
        (
            "--seed 3",
            "--seed would do nothing: only --criterion random, --policy modelcompression and --iterations draw numbers",
        ),
        ("--criterion random --aggregate max", "--criterion random has one score for all layers of a group"),
        ("--criterion taylor --dataset x --aggregate max", "--criterion taylor has one score for all layers"),
        ("--plan p.json --ratio 0.3 --policy uniform", "--policy, --ratio would do nothing"),
    ],
    ids=lambda value: value[:40],
)
def test_prune_refuses_flags_that_do_not_go_together(
    flags: str, message: str, checkpoint: Path, tmp_path: Path, refuse: Refuse
) -> None:
    code, error = refuse("prune", "--checkpoint", checkpoint, *flags.split(), "--out", tmp_path / "out")
    assert code == 2
    assert message in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--policy uniform --ratio 1", "--ratio 1.0: Input should be less than 1"),
        ("--policy uniform --ratio nan", "--ratio nan"),
        ("--policy budget --max-macs 0", "--max-macs 0"),
        ("--policy budget --max-macs 3K", "the smallest network that floor, multiple and minimum allow"),
        ("--min-channels 0", "--min-channels 0"),
        ("--policy layer-ratios --pruned-params a,b --pruned-ratios 0.3,1.2", "element 2 of --pruned-params"),
        ("--policy layer-ratios --pruned-params a,b --pruned-ratios 0.3,x", "'b' and 'x': ratio"),
        ("--policy layer-ratios --pruned-params a,b --pruned-ratios 0.3", "element 2 of --pruned-params, 'b', has no"),
        ("--policy layer-ratios --pruned-params a --pruned-ratios 0.3,1", "element 2 of --pruned-ratios, '1', has no"),
        ("--policy layer-ratios --pruned-params detial --pruned-ratios 0.3", "pattern 'detial' names no prunable"),
        ("--exclude nothing.*", "pattern 'nothing.*' names no prunable group"),
        ("--batch-only nothing.*", "pattern 'nothing.*' names no prunable group"),
        (
            "--policy modelcompression --backbone-threshold 0.5",
            "ModelCompression's rule prunes the published network alone",
        ),
        ("--plan nothing.json", "cannot read plan nothing.json"),
    ],
    ids=lambda value: value[:60],
)
def test_prune_names_the_flag_when_its_value_cannot_be_used(
    flags: str, message: str, checkpoint: Path, tmp_path: Path, refuse: Refuse
) -> None:
    code, error = refuse("prune", "--checkpoint", checkpoint, *flags.split(), "--out", tmp_path / "out")
    assert code == 3
    assert message in error


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], "was cut off"),
        (lambda text: text.replace('"macs": ', '"macs": 1', 1), "was changed after it was written"),
    ],
    ids=["cut off", "edited"],
)
def test_prune_refuses_a_plan_that_is_not_as_it_was_written(
    damage: Callable[[str], str], message: str, checkpoint: Path, tmp_path: Path, run: Run, refuse: Refuse
) -> None:
    written = Path(run("prune", "--checkpoint", checkpoint, "--out", tmp_path / "out")["plan"])
    plan = tmp_path / "damaged.json"
    plan.write_text(damage(written.read_text()))
    code, error = refuse("prune", "--checkpoint", checkpoint, "--plan", plan, "--out", tmp_path / "again")
    assert code == 3
    assert message in error

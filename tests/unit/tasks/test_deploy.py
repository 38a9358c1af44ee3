"""A release takes the place of another one only where it is not worse: real IRs of tiny networks, compared here."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from prefect.logging import disable_run_logger

from infra.device.documents.checks import time_of
from infra.device.documents.manifest import TargetFiles, TurnedFiles
from infra.device.errors import ConflictError, NotStoredError
from infra.device.releases import read_current, read_manifest, read_trials
from infra.device.stores.folder_store import FolderStore
from infra.publishing.releases import promote
from infra.publishing.roll_backs import stop
from infra.publishing.stops import read_stops
from infra.settings import Settings
from modnet.checkpoint import save_checkpoint
from modnet.configs import ComputeConfig, DatasetConfig, ExportConfig, SyntheticConfig
from modnet.records import Challenge, Decision, ExportRecord, NetworkScores, Promotion, Provenance
from modnet.targets import Target
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from tasks import deploy, host_latency, trials
from tasks.remote import bases, exports, latency
from tasks.remote import scores as remote_scores
from tasks.remote.node import answered
from tasks.stored import get_record
from tasks.stored_dataset import publish_dataset
from tasks.stored_network import evidence_key, export_key, scores_key
from tests.signing import keys, publisher_of, trust_of

TARGET: Target = "cpu-fp32"
CONFIG = ExportConfig(
    targets=(TARGET,), input_shape="256x192", turned=True, calibration_images=2, max_output_difference=0.02
)
COMPUTE = ComputeConfig(base_cpus=1)
LATER = datetime(2099, 12, 1, 6, tzinfo=UTC)
Deploy = Callable[..., Promotion]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A store, and the networks in it by what they are like: everything is half a person, or everything a person."""
    folder = tmp_path_factory.mktemp("exported")
    ids = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MODNET_STORE", (folder / "store").as_uri())
        environment.setenv("MODNET_KEYS", str(keys().folder))
        environment.setenv("MODNET_CACHE", str(folder / "cache"))
        store, settings = FolderStore(folder / "store"), Settings.from_env()
        portraits = DatasetConfig(synthetic=SyntheticConfig(train=6, val=1, height=96, width=80))
        dataset_id = publish_dataset(portraits, settings, store).dataset_id
        for name, bias in (("first", 0.0), ("worse", 50.0)):
            network = MODNet(ModnetSpec.tiny())
            with torch.no_grad():
                network.fusion.head.weight.zero_()
                network.fusion.head.bias.fill_(bias)
            checkpoint = save_checkpoint(network, folder / f"{name}.safetensors", {"made": "by hand"})
            ids[name] = bases.import_base(dataset_id, str(checkpoint)).base_id
            key = export_key(store, ids[name], CONFIG)
            answered(key, ExportRecord, exports.export_stored, [ids[name], CONFIG, key], 1)
            key = scores_key(store, ids[name], CONFIG.shapes)
            answered(key, NetworkScores, remote_scores.score_network, [ids[name], CONFIG.shapes], 1)
    return folder, ids


@pytest.fixture
def store(exported: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """A copy of the store, without a release; what a task would ask of Ray is computed here."""
    shutil.copytree(exported[0] / "store", tmp_path / "store")
    monkeypatch.setenv("MODNET_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MODNET_KEYS", str(keys().folder))
    monkeypatch.setenv("MODNET_CACHE", str(exported[0] / "cache"))

    def here(key: str, kind: Any, function: Callable[..., Any], *args: Any, cpus: int, **_: Any) -> Any:
        return answered(key, kind, function, args, cpus)

    monkeypatch.setattr(deploy, "recalled_or_computed", here)
    return FolderStore(tmp_path / "store")


@pytest.fixture(autouse=True)
def equal_latencies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks of one size are as fast: by chance, one measurement in forty says that the new one is slower."""
    samples = (10.0, 20.0) * 15
    monkeypatch.setattr(latency, "interleaved_latencies", lambda irs, *_: dict.fromkeys(irs, samples))


@pytest.fixture
def networks(exported: tuple[Path, dict[str, str]]) -> dict[str, str]:
    return exported[1]


@pytest.fixture
def deploy_network() -> Deploy:
    def run(network_id: str, reason: str = "the fastest", *, is_forced: bool = False, share: float = 1.0) -> Promotion:
        with disable_run_logger():
            release_id = deploy.publish.fn(network_id, CONFIG, reason)
            (target,) = deploy.targets_of.fn(release_id)
            return deploy.move_pointer.fn(target, release_id, network_id, CONFIG, COMPUTE, is_forced, share)

    return run


def test_the_first_release_is_promoted_and_stays_when_it_is_deployed_again(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    first = deploy_network(networks["first"], "the fastest within 1.1 times the error")
    assert (first.is_moved, first.reason) == (True, "it is the first release of this target")
    manifest = read_manifest(trust_of(store), first.release_id)
    assert manifest.provenance["reason"] == "the fastest within 1.1 times the error"
    assert manifest.targets[TARGET] == TargetFiles(
        *("modnet-cpu-fp32.xml", "modnet-cpu-fp32.bin", "input", (1, 3, 256, 192), "fp32"),
        TurnedFiles("modnet-turned-cpu-fp32.xml", "modnet-turned-cpu-fp32.bin", (1, 3, 192, 256)),
        manifest.targets[TARGET].golden,
    )
    assert manifest.targets[TARGET].golden is not None
    said = Provenance.model_validate(manifest.provenance)
    assert (said.dataset.source, said.dataset.is_synthetic, said.dataset.val) == ("synthetic", True, 1)
    assert (said.base.network_id, said.base.origin) == (networks["first"], "given as first.safetensors")
    assert (said.base.made, said.steps) == ({"made": "by hand"}, ())
    assert said.versions["openvino"] == version("openvino")
    bill = json.loads(store.get(f"releases/{first.release_id}/sbom.cdx.json"))
    assert any(one["name"] == "openvino" for one in bill["components"])
    again = deploy_network(networks["first"], "the fastest within 1.1 times the error")
    assert (again.is_moved, again.release_id, again.reason) == (True, first.release_id, "the target runs it already")


def test_a_release_states_the_licence_that_was_given_and_a_given_network_has_none_of_its_own(
    store: FolderStore, networks: dict[str, str]
) -> None:
    with disable_run_logger():
        ids = [deploy.publish.fn(networks["first"], CONFIG, "the fastest", licence) for licence in (None, "MIT")]
    assert [read_manifest(trust_of(store), one).licence for one in ids] == [None, "MIT"]


def test_a_worse_network_does_not_replace_a_better_one_unless_asked_to(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    first = deploy_network(networks["first"])
    kept = deploy_network(networks["worse"])
    assert (kept.is_moved, kept.release_id) == (False, first.release_id)
    assert kept.reason.startswith(f"release {first.release_id} stays: the new network errs more: tune error 0.")
    assert read_current(trust_of(store), TARGET).release_id == first.release_id

    forced = deploy_network(networks["worse"], is_forced=True)
    assert forced.is_moved
    assert read_current(trust_of(store), TARGET).release_id == forced.release_id != first.release_id
    back = deploy_network(networks["first"])
    assert back.is_moved
    assert back.reason.startswith(f"not worse than release {forced.release_id}: tune error 0.")


def test_a_slower_network_does_not_replace_a_faster_one(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = deploy_network(networks["first"])

    def latencies(irs: dict[str, Path], threads: int, rounds: int) -> dict[str, tuple[float, ...]]:
        assert set(irs) == {"current", "new"}
        return {"current": (10.0, 20.0) * 15, "new": (12.0, 24.0) * 15}

    monkeypatch.setattr(latency, "interleaved_latencies", latencies)
    kept = deploy_network(networks["first"], "of another night")
    assert not kept.is_moved
    assert f"the new network is slower: 1.20 times the latency of {first.release_id} (1.20 to 1.20)" in kept.reason


@pytest.mark.parametrize("name", ["modnet-cpu-fp32", "modnet-turned-cpu-fp32"])
def test_a_release_that_cannot_be_used_gives_way(
    name: str, store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    first = deploy_network(networks["first"])
    rotten = f"releases/{first.release_id}/{name}.bin"
    store.put(rotten, store.get(rotten)[:-1] + b"!")
    worse = deploy_network(networks["worse"])
    assert worse.is_moved
    assert worse.reason.startswith(f"release {first.release_id} cannot be used: {name}.bin: got SHA-256")


def test_a_share_of_the_devices_gets_a_release_and_no_run_interrupts_that(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    worse = deploy_network(networks["worse"], share=0.2)
    assert read_current(trust_of(store), TARGET).share == 1  # the first goes to all
    first = deploy_network(networks["first"], share=0.2)
    assert first.is_moved
    assert first.reason.endswith("; 20 % of its devices get it first")
    pointer = read_current(trust_of(store), TARGET)
    assert (pointer.release_id, pointer.replaces, pointer.share) == (first.release_id, worse.release_id, 0.2)
    again = deploy_network(networks["first"])
    assert (again.is_moved, again.reason) == (True, "the target runs it already, on 20 % of its devices")
    other = deploy_network(networks["first"], "of another night", share=0.2)
    assert (other.is_moved, other.release_id) == (False, first.release_id)
    assert other.reason == (
        f"release {first.release_id} is on 20 % of the devices since {pointer.moved_at}, and is not on all devices"
    )
    forced = deploy_network(networks["first"], "of another night", is_forced=True, share=0.3)
    pointer = read_current(trust_of(store), TARGET)
    assert (pointer.release_id, pointer.replaces, pointer.share) == (forced.release_id, worse.release_id, 0.3)


def test_a_run_does_not_promote_what_was_stopped_unless_forced(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    """Nor the same networks as another release; the first network would win the comparison."""
    worse = deploy_network(networks["worse"])
    first = deploy_network(networks["first"], share=0.2)
    stop(publisher_of(store), TARGET, first.release_id, "device kitchen computes something else", "the flow rollout")
    for reason in ("the fastest", "of another night"):
        kept = deploy_network(networks["first"], reason, share=0.2)
        assert (kept.is_moved, kept.release_id) == (False, worse.release_id)
        assert kept.reason.startswith(f"the rollout of release {first.release_id} was stopped at 20")
        assert kept.reason.endswith("by the flow rollout: device kitchen computes something else")
    assert deploy_network(networks["first"], is_forced=True, share=0.2).is_moved
    assert read_stops(trust_of(store)) == []


def test_a_pointer_that_was_moved_during_the_comparison_is_looked_at_again(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy_network(networks["worse"])
    other = deploy_network(networks["first"], is_forced=True).release_id
    deploy_network(networks["worse"], is_forced=True)
    challenge = deploy.challenged

    def outrun(*args: Any) -> Any:
        promote(publisher_of(store), TARGET, other)
        return challenge(*args)

    monkeypatch.setattr(deploy, "challenged", outrun)
    with pytest.raises(ConflictError, match=f"leads to {other} by now"):
        deploy_network(networks["first"], "of another night")
    assert read_current(trust_of(store), TARGET).release_id == other


def decisions(store: FolderStore) -> list[Decision]:
    return [get_record(store, key, Decision) for key in store.list(f"decisions/{TARGET}/")]


def test_what_became_of_a_target_is_kept_once_each_time(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    first = deploy_network(networks["first"]).release_id
    deploy_network(networks["first"])  # nothing is decided
    deploy_network(networks["worse"])
    worse = deploy_network(networks["worse"], is_forced=True).release_id
    found = decisions(store)
    assert [(one.kind, one.before, one.after, one.by) for one in found] == [
        ("first", None, first, "the flow deploy"),
        ("kept", first, first, "the flow deploy"),
        ("promoted", first, worse, "the flow deploy"),
    ]
    assert found[0].words == f"release {first} takes {TARGET}: it is the first release of this target"
    assert found[1].words.startswith(f"release {first} stays: the new network errs more: tune error 0.")


def on_trial(networks: list[str], reason: str = "the fastest") -> dict[str, Promotion]:
    """What becomes of networks that are published and put on trial, by their names as they were given."""
    with disable_run_logger():
        ids = [deploy.publish.fn(network_id, CONFIG, reason) for network_id in networks]
        return trials.put_on_trial.fn(TARGET, ids, LATER, CONFIG, COMPUTE)


def test_a_target_without_a_release_gets_the_first_at_once_and_the_others_are_on_trial_against_it(
    store: FolderStore, networks: dict[str, str]
) -> None:
    first, worse = on_trial([networks["first"], networks["worse"]]).values()
    assert (first.is_moved, first.reason) == (True, "it is the first release of this target")
    assert read_current(trust_of(store), TARGET).release_id == first.release_id
    signed = read_trials(trust_of(store), TARGET)
    assert (signed.against, signed.decide_by) == (first.release_id, "20991201T060000.000000Z")
    (release_id,) = signed.release_ids
    assert (worse.is_moved, worse.release_id, worse.reason) == (
        False,
        first.release_id,
        f"release {release_id} is on trial until 2099-12-01 06:00 UTC; on the host 1.00 times the latency of "
        f"{first.release_id} (1.00 to 1.00)",
    )
    challenge = get_record(store, evidence_key(TARGET, first.release_id, release_id), Challenge)
    assert challenge.new_error is not None
    assert challenge.current_error is not None
    assert challenge.difference_low is not None
    assert challenge.difference_high is not None
    difference = challenge.new_error - challenge.current_error
    assert challenge.difference_low <= difference <= challenge.difference_high
    assert difference > 0
    assert [one.kind for one in decisions(store)] == ["first"]  # nothing is decided of the other yet


def test_the_flow_puts_a_release_on_trial_for_so_many_hours(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = deploy_network(networks["first"]).release_id
    module = importlib.import_module("flows.trial")
    for task in (deploy.publish, deploy.targets_of, trials.put_on_trial):
        monkeypatch.setattr(module, task.fn.__name__, task.fn)
    with disable_run_logger():
        (made,) = module.trial.fn([networks["worse"]], CONFIG, compute=COMPUTE, hours=2)
    (promotion,) = made.promotions
    assert (promotion.is_moved, promotion.release_id) == (False, current)
    signed = read_trials(trust_of(store), TARGET)
    assert signed.release_ids == (made.release_id,)
    assert abs(time_of(signed.decide_by) - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=30)


def test_one_call_replaces_what_was_on_trial_before(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    current = deploy_network(networks["first"]).release_id
    (before,) = on_trial([networks["worse"]])
    ids = [*on_trial([networks["first"], networks["worse"]], "of another night")]
    assert before not in ids
    assert read_trials(trust_of(store), TARGET).release_ids == tuple(ids)
    (again,) = on_trial([networks["first"]], "the fastest").values()
    assert (again.is_moved, again.release_id, again.reason) == (True, current, "the target runs it already")
    assert read_trials(trust_of(store), TARGET).release_ids == tuple(ids)


def test_nothing_is_put_on_trial_while_a_rollout_is_under_way(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    deploy_network(networks["worse"])
    deploy_network(networks["first"], share=0.2)
    (kept,) = on_trial([networks["first"]], "of another night").values()
    assert "is on 20 % of the devices since" in kept.reason
    with pytest.raises(NotStoredError):
        read_trials(trust_of(store), TARGET)


def test_a_release_that_cannot_be_used_gives_way_to_the_first_and_the_others_are_on_trial_against_that(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy
) -> None:
    rotten = deploy_network(networks["first"]).release_id
    file = f"releases/{rotten}/modnet-cpu-fp32.bin"
    store.put(file, store.get(file)[:-1] + b"!")
    found = on_trial([networks["worse"], networks["first"]], "of another night")
    taken, other = found
    assert found[taken].is_moved
    assert found[taken].reason.startswith(f"release {rotten} cannot be used: modnet-cpu-fp32.bin: got SHA-256")
    assert read_current(trust_of(store), TARGET).release_id == taken
    signed = read_trials(trust_of(store), TARGET)
    assert (signed.against, signed.release_ids) == (taken, (other,))


def test_a_comparison_is_measured_on_this_machine(
    store: FolderStore, networks: dict[str, str], deploy_network: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "interleaved_latencies", host_latency.interleaved_latencies)
    deploy_network(networks["first"])
    deploy_network(networks["worse"])
    (key,) = store.list("challenges/")
    challenge = get_record(store, key, latency.Challenge)
    assert challenge.low is not None
    assert 0.1 < challenge.low <= challenge.latency_ratio <= challenge.high < 10


def test_a_comparison_is_computed_once(store: FolderStore, networks: dict[str, str], deploy_network: Deploy) -> None:
    deploy_network(networks["first"])
    first, second = deploy_network(networks["worse"]), deploy_network(networks["worse"])
    assert first == second
    (challenge,) = store.list("challenges/")
    assert get_record(store, challenge, latency.Challenge).target == TARGET

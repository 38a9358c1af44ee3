"""Training learns, is the same twice, goes on where it was cut, and says when it diverges."""

import io
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from modnet.configs import RetrainConfig, SparsityConfig, TrainingConfig
from modnet.data.archives import extract_archive
from modnet.data.loading import BatchLoader
from modnet.errors import CheckpointError, ConfigError, TrainingDivergedError
from modnet.training import retrain as training
from modnet.training.state import TrainingState
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import DistillationConfig
from modnet.workloads.matting.workload import MATTING

retrain = partial(training.retrain, workload=MATTING)

CONFIG = TrainingConfig(epochs=3, batch_size=2, image_size=64, learning_rate=5e-3, precision="fp32")


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> MattingDataset:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "synthetic.zip", train=9, val=1, size=(96, 80), seed=1)
    extracted = extract_archive(archive, folder / "extracted")
    return MattingDataset(extracted, index_dataset(extracted).split("fit"), size=64, seed=3)


def fresh_network(seed: int = 0) -> MODNet:
    torch.manual_seed(seed)
    return MODNet(ModnetSpec.tiny())


def equal(one: MODNet, other: MODNet) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_retrain_lowers_the_loss_and_leaves_evaluation_mode(portraits: MattingDataset) -> None:
    network = fresh_network()
    report = retrain(network, portraits, CONFIG.model_copy(update={"epochs": 20, "learning_rate": 1e-2}), seed=0)
    losses = [one.loss for one in report.history]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert (len(losses), report.steps, report.images_seen) == (20, 20 * 2, 20 * len(portraits))
    assert (report.best_epoch, report.precision) == (None, "fp32")
    assert not network.training


def test_retrain_gives_identical_weights_when_seed_is_the_same(portraits: MattingDataset) -> None:
    networks = [fresh_network() for _ in range(3)]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        retrain(network, portraits, CONFIG, seed=seed)
    assert equal(networks[0], networks[1])
    assert not equal(networks[0], networks[2])


def test_parts_of_a_batch_give_the_step_of_the_whole(
    portraits: MattingDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_set_training_mode", lambda network, config: network.eval())  # norms of no batch
    config = CONFIG.model_copy(update={"batch_size": 4, "optimiser": "sgd"})
    networks = [fresh_network() for _ in range(3)]
    reports = [retrain(one, portraits, config, seed=0, parts=n) for one, n in zip(networks, (1, 2, 3), strict=True)]
    assert [report.batch_parts for report in reports] == [1, 2, 3]
    for network, report in zip(networks[1:], reports[1:], strict=True):
        moved, differs = (apart(networks[0], other) for other in (fresh_network(), network))
        assert differs < 0.001 * moved  # sums in another order
        assert report.history[0].losses == pytest.approx(reports[0].history[0].losses, rel=1e-5)


def apart(one: MODNet, other: MODNet) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum((a - b).square().sum().item() for a, b in pairs) ** 0.5


class States:
    """The saved state after every step and every epoch."""

    def __init__(self) -> None:
        self.saved: list[bytes] = []

    def __call__(self, state: TrainingState) -> None:
        self.saved.append(state.to_bytes())


def falling(network: MODNet) -> float:
    """Stands for a tune error: follows from the weights alone."""
    return float(network.fusion.head.weight.abs().mean())


RECIPES = {
    "plain": RetrainConfig(**CONFIG.model_dump()),
    "sparse": RetrainConfig(
        **CONFIG.model_dump() | {"epochs": 2, "sparsity": SparsityConfig(strength=0.01, schedule="ramp")}
    ),
    "sgd in steps, backbone frozen": RetrainConfig(
        **CONFIG.model_dump() | {"epochs": 2, "optimiser": "sgd", "schedule": "step", "freeze_backbone": True}
    ),
    "distilled": RetrainConfig(**CONFIG.model_dump() | {"epochs": 2}, distillation=DistillationConfig(features=0.5)),
}


@pytest.mark.parametrize("config", RECIPES.values(), ids=RECIPES.keys())
def test_retrain_gives_identical_weights_when_cut_after_any_step_and_resumed(
    portraits: MattingDataset, config: RetrainConfig
) -> None:
    teacher = fresh_network() if config.distillation else None
    states, whole = States(), fresh_network()
    report = retrain(whole, portraits, config, seed=0, teacher=teacher, validate=falling, after_step=states)
    assert len(states.saved) == report.steps + config.epochs
    for number, state in enumerate(states.saved):
        resumed = fresh_network()
        again = retrain(resumed, portraits, config, seed=0, teacher=teacher, validate=falling, resume_from=state)
        assert equal(whole, resumed), f"resumed from state {number}"
        assert again.model_dump(exclude={"seconds"}) == report.model_dump(exclude={"seconds"})


def test_retrain_keeps_the_weights_with_the_lowest_score(portraits: MattingDataset) -> None:
    scores = iter([0.5, 0.2, 0.3])
    seen: list[MODNet] = []

    def validate(network: MODNet) -> float:
        assert not network.training
        seen.append(fresh_network())
        seen[-1].load_state_dict(network.state_dict())
        return next(scores)

    network = fresh_network()
    report = retrain(network, portraits, CONFIG, seed=0, validate=validate)
    assert report.best_epoch == 2
    assert [one.tune_error for one in report.history] == [0.5, 0.2, 0.3]
    assert equal(network, seen[1])


def test_retrain_stops_after_so_many_scores_without_a_better_one(portraits: MattingDataset) -> None:
    scores = iter([0.5, 0.2, 0.3, 0.2, 0.1])
    config = CONFIG.model_copy(update={"epochs": 5, "patience": 2})
    report = retrain(fresh_network(), portraits, config, seed=0, validate=lambda _network: next(scores))
    assert (len(report.history), report.best_epoch) == (4, 2)


def test_retrain_scores_every_nth_epoch_and_the_last(portraits: MattingDataset) -> None:
    config = CONFIG.model_copy(update={"validate_every": 2})
    report = retrain(fresh_network(), portraits, config, seed=0, validate=lambda _network: 0.5)
    assert [one.tune_error for one in report.history] == [None, 0.5, 0.5]


def test_retrain_pulls_only_the_scales_that_train_when_the_backbone_is_frozen(portraits: MattingDataset) -> None:
    sparse = CONFIG.model_copy(update={"epochs": 1, "sparsity": SparsityConfig(strength=0.01), "freeze_backbone": True})
    network = fresh_network()
    report = retrain(network, portraits, sparse, seed=0)
    norms = {name: module for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    learning = sum(norm.num_features for name, norm in norms.items() if not name.startswith("backbone."))
    assert sum(report.scales[0].counts) == learning


def test_retrain_leaves_a_frozen_backbone_as_it_was(portraits: MattingDataset) -> None:
    network, before = fresh_network(), fresh_network().backbone.state_dict()
    retrain(network, portraits, CONFIG.model_copy(update={"freeze_backbone": True}), seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.backbone.state_dict().items())
    assert not equal(network, fresh_network())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_retrain_ends_with_the_last_weights_when_nothing_is_averaged(portraits: MattingDataset) -> None:
    last: list[dict[str, torch.Tensor]] = []

    def keep(state: TrainingState) -> None:
        last[:] = [{name: tensor.clone() for name, tensor in state.modules["network"].state_dict().items()}]

    network = fresh_network()
    retrain(network, portraits, CONFIG.model_copy(update={"average_decay": 0.0}), seed=0, after_step=keep)
    assert all(torch.equal(tensor, last[0][name]) for name, tensor in network.state_dict().items())


def test_retrain_reports_scales_before_and_after_every_epoch_when_training_is_sparse(
    portraits: MattingDataset,
) -> None:
    sparse = CONFIG.model_copy(update={"sparsity": SparsityConfig(strength=0.01)})
    report = retrain(fresh_network(), portraits, sparse, seed=0)
    assert len(report.scales) == 1 + CONFIG.epochs
    assert report.scales[0].quintiles == (1.0,) * 5  # a fresh network's
    assert report.scales[-1].quintiles[0] < 1.0
    assert retrain(fresh_network(), portraits, CONFIG, seed=0).scales == ()


def test_retrain_writes_a_line_for_every_epoch_where_there_is_no_terminal(
    portraits: MattingDataset, capsys: pytest.CaptureFixture
) -> None:
    retrain(fresh_network(), portraits, CONFIG, seed=0, validate=lambda _: 0.25)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == CONFIG.epochs
    for number, line in enumerate(lines, start=1):
        facts = rf"epoch {number} of {CONFIG.epochs}, loss \d+\.\d+, tune error 0\.25000, \d:\d\d so far, \d:\d\d left"
        assert re.fullmatch(rf"training: \d+ of \d+ steps \(\d+ %\), {facts}", line)


@pytest.mark.parametrize(
    "damage", [lambda s: s[:1000], lambda s: b"", lambda s: b"x" * 50], ids=["cut", "empty", "text"]
)
def test_retrain_raises_when_saved_state_is_damaged(portraits: MattingDataset, damage) -> None:
    states = States()
    retrain(fresh_network(), portraits, CONFIG.model_copy(update={"epochs": 1}), seed=0, after_step=states)
    with pytest.raises(CheckpointError, match="cannot resume"):
        retrain(fresh_network(), portraits, CONFIG, seed=0, resume_from=damage(states.saved[1]))


@pytest.mark.parametrize("before", [1000.0, None], ids=["kept", "a state of before it was kept"])
def test_retrain_tells_the_seconds_of_the_runs_before_it_was_cut_too(
    portraits: MattingDataset, before: float | None
) -> None:
    states = States()
    retrain(fresh_network(), portraits, CONFIG, seed=0, after_step=states)
    content = torch.load(io.BytesIO(states.saved[0]), weights_only=True)
    assert 0 < content.pop("seconds") < 1000
    buffer = io.BytesIO()
    torch.save(content if before is None else content | {"seconds": before}, buffer)
    report = retrain(fresh_network(), portraits, CONFIG, seed=0, resume_from=buffer.getvalue())
    assert (before or 0) < report.seconds < (before or 0) + 1000


def test_retrain_raises_when_the_saved_state_is_of_other_settings(portraits: MattingDataset) -> None:
    states = States()
    retrain(fresh_network(), portraits, CONFIG.model_copy(update={"epochs": 1}), seed=0, after_step=states)
    with pytest.raises(CheckpointError, match="there: it is of another run, epochs: got 1, wanted 3; go on"):
        retrain(fresh_network(), portraits, CONFIG, seed=0, resume_from=states.saved[0], resume_name="there")


def other_images(portraits: MattingDataset, folder: Path) -> MattingDataset:
    """The same names, but one file is another."""
    copied = Path(shutil.copytree(portraits.folder, folder / "copied"))
    with (copied / portraits.entries[0].image).open("ab") as file:
        file.write(b"another file")
    return MattingDataset(copied, portraits.entries, size=64, seed=portraits.seed)


def test_retrain_raises_when_the_saved_state_is_of_other_weights_or_another_data_set(
    portraits: MattingDataset, tmp_path: Path
) -> None:
    states, config = States(), CONFIG.model_copy(update={"epochs": 1})
    retrain(fresh_network(), portraits, config, seed=0, after_step=states)
    others = (
        (fresh_network(seed=1), portraits),
        (fresh_network(), MattingDataset(portraits.folder, portraits.entries, size=64, seed=4)),
        (fresh_network(), other_images(portraits, tmp_path)),
    )
    for network, dataset in others:
        with pytest.raises(CheckpointError, match="of another run"):
            retrain(network, dataset, config, seed=0, resume_from=states.saved[0])


def test_retrain_raises_when_teacher_and_settings_do_not_agree(portraits: MattingDataset) -> None:
    with pytest.raises(ConfigError, match="got a teacher and no distillation"):
        retrain(fresh_network(), portraits, CONFIG, seed=0, teacher=fresh_network())
    with pytest.raises(ConfigError, match="got no teacher and a distillation"):
        retrain(fresh_network(), portraits, RECIPES["distilled"], seed=0)


def test_retrain_measures_its_format_without_what_cannot_be_read(
    portraits: MattingDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("execution", "retrain"):
        monkeypatch.setattr(f"modnet.training.{module}.computes_bf16", lambda device: True)
    spoilt = other_images(portraits, tmp_path)
    (spoilt.folder / spoilt.entries[0].image).write_bytes(b"")
    config = CONFIG.model_copy(update={"epochs": 1, "precision": "auto", "max_unreadable": 1})
    assert retrain(fresh_network(), spoilt, config, seed=0).steps == 2


def test_number_format_reads_nothing_when_there_is_nothing_to_measure(
    portraits: MattingDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modnet.training.retrain.computes_bf16", lambda device: False)
    loader = BatchLoader(MattingDataset(tmp_path / "empty", portraits.entries, size=64))
    config = CONFIG.model_copy(update={"precision": "auto"})
    assert training._number_format(MATTING, fresh_network(), loader, config, torch.device("cpu")) == "fp32"


def test_retrain_raises_with_step_when_loss_is_not_finite(portraits: MattingDataset) -> None:
    network = fresh_network()
    with torch.no_grad():
        network.fusion.head.weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="at step 0 of") as caught:
        retrain(network, portraits, CONFIG, seed=0)
    assert caught.value.step == 0
    assert caught.value.last_finite_loss is None

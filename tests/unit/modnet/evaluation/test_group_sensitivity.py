"""The whole analysis of a tiny MODNet on rendered portraits, cut and taken up again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from modnet.checkpoint import save_checkpoint
from modnet.configs import PruningConfig, SensitivityConfig
from modnet.data.archives import extract_archive
from modnet.data.images import write_png
from modnet.errors import DatasetError, PruningError
from modnet.evaluation.group_sensitivity import analyse_sensitivity, channel_ranking
from modnet.pruning.sensitivity import analysed_groups
from modnet.pruning.sensitivity_ratios import choose_ratios
from modnet.pruning.sensitivity_results import merge_sensitivities, sensitivity_curves
from modnet.records import Sensitivities
from modnet.report.sensitivity_plot import sensitivity_plot, sensitivity_rows
from modnet.workloads.matting.checkpoint import load
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits, alpha_mse
from modnet.workloads.matting.workload import MATTING

PROJECT = Path(__file__).resolve().parents[5]
CONFIG = SensitivityConfig(
    ratios=(0.3, 0.6),
    images=2,
    short_side=32,
    pruning=PruningConfig(exclude=("backbone.*",), channel_multiple=2, min_channels=2),
)

ANALYSE = """
import sys
from pathlib import Path
from modnet.workloads.matting.checkpoint import load
from modnet.configs import SensitivityConfig
from modnet.evaluation.group_sensitivity import analyse_sensitivity
from modnet.workloads.matting.workload import MATTING

checkpoint, config, folder, out = sys.argv[1:]
network, settings = load(Path(checkpoint)), SensitivityConfig.model_validate_json(config)
analyse_sensitivity(network, settings, MATTING, MATTING.open(Path(folder)), Path(out))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    return save_checkpoint(MODNet(ModnetSpec.tiny()), path, {})


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> MODNet:
    return load(checkpoint)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Portraits:
    folder = tmp_path_factory.mktemp("portraits")
    archive = write_synthetic_archive(folder / "portraits.zip", train=7, val=1, size=(96, 64), seed=0)
    return Portraits(extract_archive(archive, folder))


@pytest.fixture(scope="module")
def found(network: MODNet, dataset: Portraits, tmp_path_factory: pytest.TempPathFactory) -> Sensitivities:
    return analyse_sensitivity(network, CONFIG, MATTING, dataset, tmp_path_factory.mktemp("out") / "all.jsonl")


def test_analysis_measures_every_group_at_every_ratio_on_images_of_tune(
    found: Sensitivities, network: MODNet, dataset: Portraits
) -> None:
    groups = [group.name for group in analysed_groups(network, CONFIG.pruning.exclude)]
    stems = dataset.names("tune")[:2]
    assert [(one.group, one.image) for one in found.measurements] == [
        (group, stem) for stem in stems for group in groups
    ]
    assert {tuple(one.errors) for one in found.measurements} == {CONFIG.ratios}


def test_analysis_starts_from_the_intact_networks_error(
    found: Sensitivities, network: MODNet, dataset: Portraits
) -> None:
    portrait = dataset.sample("tune", 0, CONFIG.short_side)
    assert found.measurements[0].baseline == pytest.approx(float(alpha_mse(network, portrait).detach()))


def test_analysis_gives_the_same_when_killed_and_started_again(
    found: Sensitivities, checkpoint: Path, dataset: Portraits, tmp_path: Path
) -> None:
    out = tmp_path / "cut.jsonl"
    command = [sys.executable, "-c", ANALYSE, checkpoint, CONFIG.model_dump_json(), dataset.folder, out]
    process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (out.exists() and out.read_bytes().count(b"\n") > 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = out.read_bytes().rpartition(b"\n")[0]
    assert done.count(b"\n") < len(found.measurements)  # killed before the end

    resumed = analyse_sensitivity(load(checkpoint), CONFIG, MATTING, dataset, out)
    assert out.read_bytes().startswith(done)
    assert out.read_bytes().count(b"\n") == 1 + len(found.measurements)
    for one, other in zip(resumed.measurements, found.measurements, strict=True):
        assert (one.group, one.image) == (other.group, other.image)
        assert one.errors == pytest.approx(other.errors, abs=1e-6)


def test_analyses_of_several_workers_merge_to_that_of_one(
    found: Sensitivities, network: MODNet, dataset: Portraits, tmp_path: Path
) -> None:
    configs = [
        CONFIG.model_copy(
            update={"ratios": (ratio,), "pruning": CONFIG.pruning.model_copy(update={"exclude": exclude})}
        )
        for ratio in CONFIG.ratios
        for exclude in (("backbone.*", "detail.*"), ("backbone.*", "semantic.*", "fusion.*"))
    ]
    parts = [
        analyse_sensitivity(network, config, MATTING, dataset, tmp_path / f"{number}.jsonl")
        for number, config in enumerate(configs)
    ]
    merged = {curve.group: curve for curve in sensitivity_curves(merge_sensitivities(parts))}
    for curve in sensitivity_curves(found):
        assert merged[curve.group].errors == pytest.approx(curve.errors, abs=1e-6)


def test_analysis_raises_when_the_file_is_of_another_criterion(
    network: MODNet, dataset: Portraits, found: Sensitivities, tmp_path: Path
) -> None:
    config = SensitivityConfig(
        images=2, short_side=32, ratios=(0.5,), pruning=PruningConfig(criterion="l2", exclude=("[!f]*",))
    )
    analyse_sensitivity(network, config, MATTING, dataset, tmp_path / "s.jsonl")
    other = config.model_copy(update={"pruning": config.pruning.model_copy(update={"criterion": "l1"})})
    with pytest.raises(PruningError, match=r"ranking: l1, sum and l2, sum"):
        analyse_sensitivity(network, other, MATTING, dataset, tmp_path / "s.jsonl")


def test_analysis_raises_when_the_file_is_of_other_images_that_ranked_the_channels(
    network: MODNet, dataset: Portraits, tmp_path: Path
) -> None:
    data = Portraits(Path(shutil.copytree(dataset.folder, tmp_path / "portraits")))
    pruning = PruningConfig(criterion="taylor", taylor_images=1, exclude=("[!f]*",))
    config = SensitivityConfig(images=1, short_side=32, ratios=(0.5,), pruning=pruning)
    scores = {group.name: torch.arange(group.channels) for group in analysed_groups(network)}
    analyse_sensitivity(network, config, MATTING, data, tmp_path / "s.jsonl", scores)
    with data.files("fit", 0)[1].open("ab") as file:
        file.write(b"another file")
    with pytest.raises(PruningError, match="data_sha256"):
        analyse_sensitivity(network, config, MATTING, data, tmp_path / "s.jsonl", scores)


def test_a_sample_names_the_file_when_it_is_a_sliver(tmp_path: Path) -> None:
    for name in ("image.png", "matte.png"):
        write_png(tmp_path / name, np.zeros((4, 3000), np.uint8))
    sliver = Pair(stem="sliver", image="image.png", matte="matte.png")
    with pytest.raises(DatasetError, match=r"image\.png: an image of 3000 × 4 .* too narrow"):
        Portraits(tmp_path, DatasetIndex(train=(sliver,), val=(sliver,))).sample("val", 0, 64)


def test_plot_and_rows_show_every_group(found: Sensitivities, network: MODNet) -> None:
    found_curves = sensitivity_curves(found)
    choice = choose_ratios(network, found_curves, CONFIG)
    assert sensitivity_plot(found_curves, choice, "tiny").startswith(b"\x89PNG")
    rows = sensitivity_rows(found_curves, choice)
    assert {row["group"] for row in rows} == {curve.group for curve in found_curves}
    assert set(rows[0]) == {"group", "loss at 0.3", "loss at 0.6", "ratio"}


@pytest.mark.parametrize(
    ("config", "ranking"),
    [
        (PruningConfig(seed=3), "l1, sum"),
        (PruningConfig(criterion="random", seed=3), "random, seed 3"),
        (PruningConfig(criterion="taylor", taylor_images=4), "taylor, 4 images"),
    ],
    ids=["weights", "random", "images"],
)
def test_channel_ranking_names_what_it_depends_on(config: PruningConfig, ranking: str) -> None:
    assert channel_ranking(config) == ranking

"""Sensitivities of a MODNet on labelled portraits: on this machine into a file, or a part of them for one worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from modnet.configs import PruningConfig, SensitivityConfig
from modnet.errors import DatasetError
from modnet.network import ChannelGroup
from modnet.progress import progress_over
from modnet.pruning.criteria import Scores, score_groups
from modnet.pruning.plan import network_digest
from modnet.pruning.sensitivity import RecordedImage, analysed_groups, closed_gates
from modnet.pruning.sensitivity_file import append_sensitivity, read_sensitivities, resume_sensitivities
from modnet.records import ImageSensitivity, Sensitivities, SensitivityQuestion
from modnet.workloads.matting.data.indexing import DatasetIndex, Pair
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.portraits import alpha_mse, read_portraits


def analyse_sensitivity(
    network: MODNet,
    config: SensitivityConfig,
    folder: Path,
    index: DatasetIndex,
    out: Path,
    scores: Scores | None = None,
) -> Sensitivities:
    """Measures every group at every ratio into `out`, and goes on where a killed analysis of the same question ended.

    Args:
        network: in evaluation mode.
        folder: what the paths of `index` are relative to; its tune split is read.
        out: JSON lines, see `modnet.pruning.sensitivity_file`.
        scores: what `taylor` found; None scores the weights by the config's criterion.

    Raises:
        DatasetError: the tune split is empty or a pair cannot be read.
        PruningError: `out` answers another question, or a pattern names nothing.
    """
    pairs = tune_pairs(index, config)
    groups = analysed_groups(network, config.pruning.exclude)
    known = resume_sensitivities(out, sensitivity_question(network, config, folder, index))
    for measurement in measure_portraits(network, config, folder, pairs, groups, scores, known.measurements):
        append_sensitivity(out, measurement)
    return read_sensitivities(out)


def measure_portraits(
    network: MODNet,
    config: SensitivityConfig,
    folder: Path,
    pairs: Sequence[Pair],
    groups: Sequence[ChannelGroup],
    scores: Scores | None = None,
    known: Sequence[ImageSensitivity] = (),
) -> Iterator[ImageSensitivity]:
    """One measurement for each image and group, image by image; ratios that are known already are left out."""
    if scores is None:
        scores = score_groups(network, config.pruning)
    done = {(one.group, one.image): one.errors.keys() for one in known}
    for pair in progress_over(pairs, "sensitivity", "image"):
        missing = {
            group: ratios
            for group in groups
            if (ratios := [ratio for ratio in config.ratios if ratio not in done.get((group.name, pair.stem), ())])
        }
        if not missing:
            continue
        (portrait,) = read_portraits(folder, [pair], config.short_side)
        image = RecordedImage(network, portrait, alpha_mse)
        for group, ratios in missing.items():
            errors = image.errors(group.name, closed_gates(group, scores[group.name], ratios))
            yield ImageSensitivity(
                group=group.name,
                image=pair.stem,
                baseline=image.baseline,
                errors=dict(zip(ratios, errors, strict=True)),
            )


def tune_pairs(index: DatasetIndex, config: SensitivityConfig) -> tuple[Pair, ...]:
    """The images that are looked at: the first of the tune split.

    Raises:
        DatasetError: the split is empty.
    """
    pairs = index.split("tune")[: config.images]
    if not pairs:
        raise DatasetError("the tune split has no images; there is nothing to measure sensitivities on")
    return pairs


def sensitivity_question(
    network: MODNet, config: SensitivityConfig, folder: Path, index: DatasetIndex
) -> SensitivityQuestion:
    """What results must have in common to be put together: network, images, ranking of channels, metric."""
    pairs = tune_pairs(index, config)
    ranked_on = index.split("fit")[: config.pruning.taylor_images] if config.pruning.criterion == "taylor" else ()
    digest = hashlib.sha256()
    for pair in (*pairs, *ranked_on):
        for path in (pair.image, pair.matte):
            digest.update(hashlib.sha256((folder / path).read_bytes()).digest())
    return SensitivityQuestion(
        network_sha256=network_digest(network),
        data_sha256=digest.hexdigest(),
        images=tuple(pair.stem for pair in pairs),
        short_side=config.short_side,
        ranking=channel_ranking(config.pruning),
        metric="mean squared error of alpha",
    )


def channel_ranking(pruning: PruningConfig) -> str:
    """By which channels of a group go first, and what that depends on."""
    if pruning.criterion == "taylor":
        return f"taylor, {pruning.taylor_images} images"
    if pruning.criterion == "random":
        return f"random, seed {pruning.seed}"
    return f"{pruning.criterion}, {pruning.aggregate}"

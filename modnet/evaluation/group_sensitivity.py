"""Sensitivities of a network on labelled images: on this machine into a file, or a part of them for one worker."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modnet.configs import PruningConfig, SensitivityConfig
from modnet.errors import DatasetError
from modnet.network import ChannelGroup, PrunableNetwork
from modnet.progress import progress_over
from modnet.pruning.criteria import Scores, score_groups
from modnet.pruning.plan import network_digest
from modnet.pruning.sensitivity import RecordedImage, analysed_groups, closed_gates
from modnet.pruning.sensitivity_file import append_sensitivity, read_sensitivities, resume_sensitivities
from modnet.records import ImageSensitivity, Sensitivities, SensitivityQuestion
from modnet.workload import LabelledData, Workload


def analyse_sensitivity(
    network: PrunableNetwork,
    config: SensitivityConfig,
    workload: Workload[Any],
    data: LabelledData,
    out: Path,
    scores: Scores | None = None,
) -> Sensitivities:
    """Measures every group at every ratio into `out`, and goes on where a killed analysis of the same question ended.

    The network is in evaluation mode, and the data's tune split is read. Without scores, those of `taylor`, weights are
    scored by the config's criterion.

    Raises:
        DatasetError: the tune split is empty or an image cannot be read.
        PruningError: `out` answers another question, or a pattern names nothing.
    """
    groups = analysed_groups(network, config.pruning.exclude)
    known = resume_sensitivities(out, sensitivity_question(network, config, workload, data))
    for measurement in measure_groups(network, config, workload, data, groups, scores, known.measurements):
        append_sensitivity(out, measurement)
    return read_sensitivities(out)


def measure_groups(
    network: PrunableNetwork,
    config: SensitivityConfig,
    workload: Workload[Any],
    data: LabelledData,
    groups: Sequence[ChannelGroup],
    scores: Scores | None = None,
    known: Sequence[ImageSensitivity] = (),
) -> Iterator[ImageSensitivity]:
    """One measurement for each image and group, image by image; ratios that are known already are left out."""
    if scores is None:
        scores = score_groups(network, config.pruning)
    done = {(one.group, one.image): one.errors.keys() for one in known}
    for position, name in enumerate(progress_over(_tune_images(data, config), "sensitivity", "image")):
        left = {group: set(config.ratios).difference(done.get((group.name, name), ())) for group in groups}
        missing = {group: [one for one in config.ratios if one in ratios] for group, ratios in left.items() if ratios}
        if not missing:
            continue
        image = RecordedImage(network, data.sample("tune", position, config.short_side), workload.error)
        for group, ratios in missing.items():
            errors = image.errors(group.name, closed_gates(group, scores[group.name], ratios))
            yield ImageSensitivity(
                group=group.name, image=name, baseline=image.baseline, errors=dict(zip(ratios, errors, strict=True))
            )


def sensitivity_question(
    network: PrunableNetwork, config: SensitivityConfig, workload: Workload[Any], data: LabelledData
) -> SensitivityQuestion:
    """What results must have in common to be put together: network, images, ranking of channels, metric.

    Raises:
        DatasetError: the tune split is empty.
    """
    names = _tune_images(data, config)
    files = [file for position in range(len(names)) for file in data.files("tune", position)]
    if config.pruning.criterion == "taylor":
        ranked_on = range(min(config.pruning.taylor_images, len(data.names("fit"))))
        files += [file for position in ranked_on for file in data.files("fit", position)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return SensitivityQuestion(
        network_sha256=network_digest(network),
        data_sha256=digest.hexdigest(),
        images=tuple(names),
        short_side=config.short_side,
        ranking=channel_ranking(config.pruning),
        metric=f"{workload.title} of {workload.name}",
    )


def _tune_images(data: LabelledData, config: SensitivityConfig) -> Sequence[str]:
    names = data.names("tune")[: config.images]
    if not names:
        raise DatasetError("the tune split has no images; there is nothing to measure sensitivities on")
    return names


def channel_ranking(pruning: PruningConfig) -> str:
    """By which channels of a group go first, and what that depends on."""
    if pruning.criterion == "taylor":
        return f"taylor, {pruning.taylor_images} images"
    if pruning.criterion == "random":
        return f"random, seed {pruning.seed}"
    return f"{pruning.criterion}, {pruning.aggregate}"

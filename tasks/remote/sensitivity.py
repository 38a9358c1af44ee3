"""Sensitivity analysis: the ranking of channels, one group after the other anywhere, then the summary."""

import torch

from infra.device.stores.object_store import ObjectStore
from modnet.configs import SensitivityConfig
from modnet.evaluation.group_sensitivity import channel_ranking, measure_groups, sensitivity_question
from modnet.pruning.criteria import score_groups
from modnet.pruning.sensitivity import analysed_groups
from modnet.pruning.sensitivity_ratios import choose_ratios
from modnet.pruning.sensitivity_results import merge_sensitivities, sensitivity_curves
from modnet.records import ChannelScores, Sensitivities, SensitivityReport
from modnet.report.sensitivity_plot import sensitivity_plot
from tasks.pruning_evidence import scores_for
from tasks.remote.node import Node, this_node
from tasks.stored import STAGE_VERSIONS, get_record, identify, once, put_file
from tasks.stored_network import stored_network


def score_channels(node: Node, network_id: str, config: SensitivityConfig) -> ChannelScores:
    """By what the channels of each analysed group are ranked, once for all workers."""
    network, scores = node.network(network_id), None
    if config.pruning.criterion == "taylor":  # the data set is opened for no other
        dataset_id = stored_network(node.store, network_id)[1]
        scores = scores_for(network, config.pruning, node.workload(dataset_id), node.data(dataset_id))
    scores = score_groups(network, config.pruning) if scores is None else scores
    groups = analysed_groups(network, config.pruning.exclude)
    return ChannelScores(scores={group.name: tuple(scores[group.name].tolist()) for group in groups})


def measure_group(node: Node, network_id: str, group: str, config: SensitivityConfig, ranked_at: str) -> Sensitivities:
    """The sensitivities of one group on all images, channels ranked by the ChannelScores at the key `ranked_at`."""
    network, dataset_id = node.network(network_id), stored_network(node.store, network_id)[1]
    workload, data = node.workload(dataset_id), node.data(dataset_id)
    ranked = get_record(node.store, ranked_at, ChannelScores).scores[group]
    groups = [one for one in network.channel_groups() if one.name == group]
    scores = {group: torch.tensor(ranked, dtype=torch.float64)}
    return Sensitivities(
        question=sensitivity_question(network, config, workload, data),
        measurements=tuple(measure_groups(network, config, workload, data, groups, scores)),
    )


def summarise(network_id: str, measured_at: list[str], config: SensitivityConfig) -> SensitivityReport:
    """Curves, their plot, and the ratios that follow from the Sensitivities of all groups at the given keys."""
    node = this_node(cpus=1)
    store = node.store

    def compute() -> SensitivityReport:
        whole = merge_sensitivities([get_record(store, one, Sensitivities) for one in measured_at])
        found = sensitivity_curves(whole)
        choice = choose_ratios(node.network(network_id), found, config)
        title = f"{network_id}: {len(whole.question.images)} images at {config.short_side} px, {whole.question.ranking}"
        plot = put_file(store, key.replace(".json", ".png"), sensitivity_plot(found, choice, title))
        return SensitivityReport(network_id=network_id, question=whole.question, curves=found, choice=choice, plot=plot)

    key = f"sensitivities/{_question_id(store, network_id, config)}/report-{identify(config=config.model_dump())}.json"
    return once(store, key, SensitivityReport, compute)


def channel_scores_key(store: ObjectStore, network_id: str, config: SensitivityConfig) -> str:
    """Key of the ChannelScores of a network's analysed groups."""
    name = identify(exclude=config.pruning.exclude)
    return f"sensitivities/{_question_id(store, network_id, config)}/scores-{name}.json"


def group_key(store: ObjectStore, network_id: str, group: str, config: SensitivityConfig) -> str:
    """Key of one group's Sensitivities."""
    return f"sensitivities/{_question_id(store, network_id, config)}/groups/{group}.json"


def _question_id(store: ObjectStore, network_id: str, config: SensitivityConfig) -> str:
    """Name of what is measured; what is read off the curves afterwards is no part of it."""
    checkpoint, dataset_id = stored_network(store, network_id)
    return identify(
        checkpoint=checkpoint.sha256,
        dataset=dataset_id,
        ratios=sorted(config.ratios),
        images=config.images,
        short_side=config.short_side,
        ranking=channel_ranking(config.pruning),
        version=STAGE_VERSIONS["sensitivity"],
    )

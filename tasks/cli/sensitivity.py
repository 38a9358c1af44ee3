"""`modnet sensitivity`."""

from modnet.configs import PruningConfig, SensitivityConfig
from modnet.errors import PruningError
from modnet.evaluation.group_sensitivity import analyse_sensitivity, channel_ranking
from modnet.files import write_atomically
from modnet.network import PrunableNetwork
from modnet.pruning.plan import network_digest, plan_pruning
from modnet.pruning.sensitivity_file import read_sensitivities, write_sensitivities
from modnet.pruning.sensitivity_ratios import choose_ratios
from modnet.pruning.sensitivity_results import merge_sensitivities, sensitivity_curves
from modnet.records import SensitivityQuestion
from modnet.report.sensitivity_plot import sensitivity_plot, sensitivity_rows
from tasks.cli.exit_codes import UsageError
from tasks.cli.fields import given_config, typed
from tasks.cli.flags import Options, Result, require_free
from tasks.cli.given import given_data, given_network
from tasks.cli.pruning_flags import require_aggregate_that_fits
from tasks.pruning_evidence import scores_for
from tasks.tables import markdown_table

_MEASURING = ("ratios", "images", "short_side", "exclude")


def sensitivity(options: Options) -> Result:
    """Prunes each channel group alone, measures the error, and makes a plan. A run that was cut goes on."""
    _require_flags_that_fit(options)
    plot, plan_file = options.out / "sensitivity.png", options.out / "plan.json"
    require_free(options, plot, plan_file)  # what was measured is not replaced: a cut run goes on
    pruning = given_config(PruningConfig, options)
    config: SensitivityConfig = given_config(SensitivityConfig, options, pruning=pruning)
    workload, checkpoint = given_network(options.checkpoint, options.prune_info)
    network = checkpoint.network
    file, scores = options.out / "sensitivities.jsonl", None
    if options.dataset is not None:
        data = given_data(workload, options.dataset, network)
        scores = scores_for(network, pruning, workload, data)
    if options.merge is None:
        measured = analyse_sensitivity(network, config, workload, data, file, scores)
    else:
        measured = merge_sensitivities([read_sensitivities(path) for path in options.merge])
        _require_same(measured.question, network, pruning)
        write_sensitivities(file, measured)

    found = sensitivity_curves(measured)
    choice = choose_ratios(network, found, config)
    plan = plan_pruning(network, pruning.model_copy(update={"policy": choice.policy}), scores=scores)
    question = measured.question
    title = f"{options.checkpoint.name}: {len(question.images)} images at {question.short_side} px, {question.ranking}"
    write_atomically(plot, sensitivity_plot(found, choice, title))
    write_atomically(plan_file, plan.to_json().encode())
    result: Result = {
        "sensitivities": str(file),
        "plot": str(plot),
        "plan": str(plan_file),
        "allowed_loss": choice.allowed_loss,
        "parameters": choice.parameters,
        "macs": choice.macs,
    }
    if options.json:
        details = {"curves": [curve.model_dump() for curve in found], "policy": choice.policy.model_dump()}
        return {**result, **details, "remarks": list(plan.remarks)}
    return {**result, "table": "\n\n".join([markdown_table(sensitivity_rows(found, choice)), *plan.remarks])}


def _require_flags_that_fit(options: Options) -> None:
    require_aggregate_that_fits(options)
    if options.max_macs is not None and options.allowed_loss is not None:
        raise UsageError("--allowed-loss would do nothing: --max-macs looks for the allowed loss")
    if options.merge is None:
        if options.dataset is None:
            raise UsageError("say what to look at: --dataset measures, --merge puts results together")
        return
    idle = [name for name in _MEASURING if getattr(options, name) is not None]
    if options.dataset is not None and options.criterion != "taylor":
        idle.append("dataset")
    if idle:
        raise UsageError(f"--merge measures nothing: {typed(*idle)} would do nothing")


def _require_same(question: SensitivityQuestion, network: PrunableNetwork, pruning: PruningConfig) -> None:
    """The files to be merged speak of this network and of channels ranked in this way."""
    if (wanted := question.network_sha256) != (digest := network_digest(network)):
        of_files = f"the files speak of a network whose weights have SHA-256 {wanted}"
        raise PruningError(f"--merge: {of_files}, --checkpoint has {digest}")
    if question.ranking != (ranking := channel_ranking(pruning)):
        raise PruningError(f"--merge: the files rank channels by {question.ranking!r}, the flags by {ranking!r}")

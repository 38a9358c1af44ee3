"""What people type after each verb: its flags, all but `--json`, by a function of the name of that which does its work.

Nothing heavy is imported here: help shall come at once.
"""

from __future__ import annotations

import argparse
from argparse import ArgumentParser
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from infra.ingest.devices import POLICIES
from modnet.configs import (
    DatasetConfig,
    ExportConfig,
    PruningConfig,
    ReleaseConfig,
    RetrainConfig,
    SensitivityConfig,
    SparsityConfig,
    TrainingConfig,
    WinnerLimits,
)
from modnet.configs.search import SearchConfig
from modnet.shipped import SHIPPED, SHIPPED_PRUNED
from modnet.targets import VARIANTS
from modnet.workloads.matting.names import MAX_DOUBT
from modnet.workloads.matting.settings import AdaptationConfig, DistillationConfig
from modnet.workloads.matting.weights import checkpoint_path
from tasks.cli import flags, values
from tasks.cli.add_flag import add_flag
from tasks.cli.fields import add_fields, flag_fields
from tasks.cli.pruning_flags import add_channel_flags, add_pruning_flags
from tasks.configs.baseline import TRAIN, UNPRUNED
from tasks.configs.compress import CompressConfig
from tasks.configs.tidy import TidyConfig

_UNTYPED = ("max_gradient_norm",)
"""Fields of a training that the run form and Python offer, and no flag."""

INT8_FIELDS = ("calibration_images", "max_relative_error_increase", "max_float_layers", "quantisation_aware_steps")
_CRITERIA = ", ".join(get_args(PruningConfig.model_fields["criterion"].annotation))
_PRUNINGS = (
    "threshold/ratio as 0.5/0.5, MACs as 3.7G, parameters as 1.34M, both as 3.7G+1.34M; behind each may stand the "
    f"input as @480x320, and :criterion, one of {_CRITERIA}; joined by commas"
)
DEFAULT_TARGETS = [target for target, variant in VARIANTS.items() if variant.is_static]


def fetch_dataset(verb: ArgumentParser) -> None:
    """Of `modnet dataset fetch`."""
    verb.add_argument("source", help="synthetic, ppm-100, a zip or a URL")
    flags.workload(verb)
    add_fields(verb, DatasetConfig, "sha256", without="any archive is taken")


def check_dataset(verb: ArgumentParser) -> None:
    """Of `modnet dataset check`."""
    verb.add_argument("source", help=flags.DATASET.removesuffix("."))
    flags.workload(verb)
    says = "HTML file to write: what is wrong, with pictures of the first images that have it."
    add_flag(verb, "--page", says, type=values.file_to_write)
    flags.overwrite(verb)


def pseudo_label(verb: ArgumentParser) -> None:
    """Of `modnet dataset pseudo-label`."""
    flags.dataset(verb)
    add_flag(verb, "--images", "Folder of images without mattes.", type=Path, required=True)
    says = "One network or more: an IR (.xml), an ONNX file or a checkpoint. A matte is the mean of theirs."
    add_flag(verb, "--teacher", says, type=checkpoint_path, nargs="+", required=True)
    flags.protocol(verb)
    says = "Images are left out where mattes of the networks, and of the mirrored image, are further from their mean."
    add_flag(verb, "--max-doubt", says, type=float, limits="0 to 1", default=MAX_DOUBT)
    add_flag(verb, "--out", "Folder of the new data set.", type=values.folder_to_write, required=True)


def train(verb: ArgumentParser) -> None:
    """Of `modnet train`."""
    _add_training(verb)
    _add_training_fields(verb)
    flags.workload(verb)
    says = "MobileNetV2 to start from, norms folded, .npz."
    add_flag(verb, "--backbone", says, type=Path, without="random weights")


def retrain(verb: ArgumentParser) -> None:
    """Of `modnet retrain`."""
    flags.network(verb)
    _add_training(verb)
    _add_training_fields(verb, RetrainConfig)
    teaching = verb.add_argument_group("learning from another network as well")
    says = "The network to learn from, usually the unpruned one. A warning tells when it errs more than its student."
    add_flag(teaching, "--teacher", f"{says} {flags.CHECKPOINT}", type=checkpoint_path)
    add_fields(teaching, DistillationConfig, "features")


def adapt(verb: ArgumentParser) -> None:
    """Of `modnet adapt`."""
    for add in (flags.network, flags.seed, flags.device, flags.out_checkpoint):
        add(verb)
    add_flag(verb, "--images", "Folder of images. They need no mattes.", type=Path, required=True)
    add_fields(verb, AdaptationConfig, *flag_fields(AdaptationConfig))


def prune(verb: ArgumentParser) -> None:
    """Of `modnet prune`."""
    flags.checkpoint(verb, without="the network of --network")
    for add in (flags.out_folder, flags.device):
        add(verb)
    own = verb.add_argument_group("a network of your own code")
    says = "What makes it, as package.module:factory; the current folder is searched first."
    add_flag(own, "--network", says, without="the one of --checkpoint")
    says = "Shapes of its inputs, as 1x3x224x224. Costs are those of such inputs."
    add_flag(own, "--example", says, type=values.tensor_shape, nargs="+", without="required with --network")
    add_flag(
        own, "--weights", "Its state dict, .safetensors or of torch.", type=Path, without="those that it is made with"
    )
    says = "Keeps the channels that an operation touches which cannot be followed."
    add_flag(own, "--keep-unknown", says, action="store_true")
    _add_training_fields(verb, RetrainConfig, "how --iterations retrains")
    add_pruning_flags(verb)


def sensitivity(verb: ArgumentParser) -> None:
    """Of `modnet sensitivity`."""
    for add in (flags.network, flags.out_folder, flags.seed):
        add(verb)
    says = f"Labelled images; errors are measured on their tune split: {flags.DATASET}"
    add_flag(verb, "--dataset", says, without="none, with --merge alone")
    add_fields(verb, SensitivityConfig, *flag_fields(SensitivityConfig))
    says = "The sensitivities.jsonl of several runs, put together."
    add_flag(verb, "--merge", says, type=Path, nargs="+", metavar="FILE", without="the network is measured")
    add_channel_flags(verb)


def inspect(verb: ArgumentParser) -> None:
    """Of `modnet inspect`."""
    flags.network(verb)
    says = "MACs are of a square image of this side, in pixels."
    add_flag(verb, "--size", says, type=int, limits="a multiple of 32", default=flags.SIZE)
    add_flag(
        verb,
        "--against",
        "The checkpoint before pruning, to compare with.",
        type=checkpoint_path,
        without="the widths before pruning, which pruned checkpoints of this project remember",
    )
    flags.out_picture(verb, "--picture", "the channels of every group.")
    add_flag(verb, "--tensors", "Shows the shape of every tensor as well, as --json always does.", action="store_true")
    flags.overwrite(verb)


def export(verb: ArgumentParser) -> None:
    """Of `modnet export`."""
    flags.network(verb)
    flags.out_folder(verb)
    flags.size(verb)
    add_flag(verb, "--dynamic", "Leaves batch, height and width open. Not with --size.", action="store_true")


def optimize(verb: ArgumentParser) -> None:
    """Of `modnet optimize`."""
    flags.out_folder(verb)
    add_flag(verb, "--onnx", "The file that `modnet export` writes.", type=Path, required=True)
    flags.size(verb, " Where the ONNX file leaves them open.")
    says = f"A list of {','.join(VARIANTS)}."
    add_flag(verb, "--targets", says, type=_targets, default=DEFAULT_TARGETS, without="all of fixed input size")
    add_fields(verb, ExportConfig, "input_format", "verify_on_legacy")
    rounding = verb.add_argument_group("INT8")
    says = f"Its fit split calibrates, its tune split judges: {flags.DATASET}"
    add_flag(rounding, "--dataset", says, without="none, without an INT8 target")
    add_fields(rounding, ExportConfig, *INT8_FIELDS)
    flags.checkpoint(rounding, "With --quantisation-aware-steps: the network that the ONNX file is of:")


def add_device(verb: ArgumentParser) -> None:
    """Of `modnet device add`."""
    verb.add_argument("name", help="of the device in its reports, as kitchen-1")
    says = "JSON file that `aws iam create-access-key` printed for this device: its key is taken."
    add_flag(verb, "--aws", says, type=Path, without="a new key, for the store of `make up`")
    list_devices(verb)


def invite_device(verb: ArgumentParser) -> None:
    """Of `modnet device invite`."""
    add_device(verb)
    says = f"What the device shall measure: a list of {','.join(VARIANTS)}."
    add_flag(verb, "--targets", says, type=_targets, default=["cpu-int8"])
    add_flag(verb, "--hours", "So long the token can be used.", type=values.Whole(1, 168), default=1)
    add_flag(verb, "--root", "root.json of the keys.", type=Path, without="that of MODNET_KEYS, or of `make up`")


def list_devices(verb: ArgumentParser) -> None:
    """Of `modnet device list`."""
    add_flag(verb, "--stack", "Folder of the services of `make up`.", type=Path, default=Path(".modnet"))


def revoke_device(verb: ArgumentParser) -> None:
    """Of `modnet device revoke`."""
    verb.add_argument("name", help="of the device")
    list_devices(verb)


def pin_device(verb: ArgumentParser) -> None:
    """Of `modnet device pin`."""
    unpin_device(verb)
    verb.add_argument("release_id", help="12 hexadecimal digits, as `modnet release list` names it")
    list_devices(verb)


def unpin_device(verb: ArgumentParser) -> None:
    """Of `modnet device unpin`."""
    verb.add_argument("name", help="of the device")
    verb.add_argument("target", choices=list(VARIANTS), help="what the device is")
    flags.store(verb)


def show_policy(verb: ArgumentParser) -> None:
    """Of `modnet device policy`; the bucket is that of MODNET_STORE."""
    says = "Whose rights: a device's, the ingest's, or those of flows and Ray's nodes."
    add_flag(verb, "--whose", says, choices=tuple(POLICIES), default="device")


def config(verb: ArgumentParser) -> None:
    """Of `modnet config`."""
    add_fields(verb, CompressConfig, "profile", without="demo")
    verb.set_defaults(profile="demo")
    flags.workload(verb)
    says = "Labelled images: synthetic, ppm-100, a zip or a URL."
    add_flag(verb, "--dataset", says, without=DatasetConfig().source)
    says = f"The unpruned network: {SHIPPED} (the project's own), {TRAIN} (the run trains one), or a checkpoint's path."
    add_flag(verb, "--base", says, without=f"{SHIPPED}, or {TRAIN} where a workload ships none")
    add_flag(verb, "--pruning", f"The candidates: {_PRUNINGS}.", type=_prunings, without="those of the profile")
    add_fields(verb, SearchConfig, "hours", without="no search: the candidates are a list")
    add_flag(
        verb,
        "--start",
        f"What candidates are pruned from: {UNPRUNED}, {SHIPPED_PRUNED} (the project's own small network), or the path "
        "of another small network.",
        without=f"{SHIPPED_PRUNED} in a demo without --base and --pruning, else {UNPRUNED}",
    )
    add_fields(verb, WinnerLimits, "max_error_ratio")
    add_fields(verb, ReleaseConfig, "licence", "share")


def show_release(verb: ArgumentParser) -> None:
    """Of `modnet release show`."""
    verb.add_argument("release_id", nargs="?", help="12 hexadecimal digits, as runs and reports name it")
    add_flag(verb, "--target", "In place of an id: the release that this target runs.", metavar="NAME")
    flags.store(verb)


def list_releases(verb: ArgumentParser) -> None:
    """Of `modnet release list`."""
    flags.store(verb)


def publish_release(verb: ArgumentParser) -> None:
    """Of `modnet release publish`."""
    verb.add_argument("network_id", help="of a network that a run has exported, as its report names it")
    says = "JSON with the section `export` of that run, as `modnet config --json` prints it."
    add_flag(verb, "--export", says, type=Path, without="the usual export")
    add_flag(verb, "--reason", "Why it is released.", default="published by hand")
    add_fields(verb, ReleaseConfig, "licence")
    flags.store(verb)


def promote_release(verb: ArgumentParser) -> None:
    """Of `modnet release promote`."""
    _add_release(verb)
    says = f"A list of {','.join(VARIANTS)}."
    add_flag(verb, "--targets", says, type=_targets, without="all that the release has files for")
    says = "Of a target's devices, so many run it, as 0.2; the others run what they ran. The flow `rollout` goes on."
    add_flag(verb, "--share", says, type=values.share, default=1.0, limits="above 0, at most 1")
    add_flag(verb, "--force", "Also where its rollout was stopped.", action="store_true")


def roll_back_target(verb: ArgumentParser) -> None:
    """Of `modnet release roll-back`."""
    verb.add_argument("target", choices=list(VARIANTS), help="whose devices run the release before")
    flags.store(verb)


def retire_release(verb: ArgumentParser) -> None:
    """Of `modnet release retire`."""
    _add_release(verb)


def retain_releases(verb: ArgumentParser) -> None:
    """Of `modnet release retain`."""
    add_flag(verb, "--last", "So many of the newest stay.", type=values.Whole(1), default=30)
    flags.store(verb)


def renew_signatures(verb: ArgumentParser) -> None:
    """Of `modnet release renew`."""
    says = "Where the store's timestamp is lost or damaged: signs the newest list that these keys have signed."
    add_flag(verb, "--rebuild", says, action="store_true")
    flags.store(verb)


def import_release(verb: ArgumentParser) -> None:
    """Of `modnet release import`."""
    _add_release(verb)


def tidy_store(verb: ArgumentParser) -> None:
    """Of `modnet store tidy`."""
    add_flag(verb, "--dry-run", "Only shows what would go.", action="store_true")
    add_fields(verb, TidyConfig, "keep_runs", "keep_days")
    flags.store(verb)


def make_keys(verb: ArgumentParser) -> None:
    """Of `modnet keys new`."""
    flags.keys(verb)
    flags.root_folder(verb)


def sign_keys(verb: ArgumentParser) -> None:
    """Of `modnet keys sign`."""
    flags.keys(verb)
    flags.root_folder(verb)


def rotate_keys(verb: ArgumentParser) -> None:
    """Of `modnet keys rotate`."""
    verb.add_argument("role", choices=("root", "targets", "snapshot", "timestamp"), help="whose key is replaced")
    flags.keys(verb)
    flags.root_folder(verb)


def show_keys(verb: ArgumentParser) -> None:
    """Of `modnet keys show`."""
    flags.keys(verb)


def _add_release(verb: ArgumentParser) -> None:
    verb.add_argument("release_id", help="12 hexadecimal digits, as `modnet release list` names it")
    flags.store(verb)


def _add_training(verb: ArgumentParser) -> None:
    for add in (flags.dataset, flags.seed, flags.device, flags.out_checkpoint):
        add(verb)
    says = "Height x width that the network will read, as 480x320. Crops have it, and tune is scored at its letterbox."
    limits = "multiples of 32"
    add_flag(verb, "--size", says, type=values.size, limits=limits, without="square crops of --image-size, any input")
    says = "Processes that compute samples. 0: a thread."
    add_flag(verb, "--workers", says, type=values.Whole(0), default=0)
    says = "Keeps the averaged weights of every epoch as well, which tune scores: beside --out, as …-epoch-001."
    add_flag(verb, "--keep-epochs", says, action="store_true")
    says = "With --sparsity: norms that get a plot of their own, beside that of all and that of the first. A list, as "
    add_flag(verb, "--sparsity-norms", f"{says}backbone.last.norm,semantic.*", type=values.texts)


def _add_training_fields(
    verb: argparse.ArgumentParser, config: type[TrainingConfig] = TrainingConfig, title: str = "training"
) -> None:
    group = verb.add_argument_group(title)
    add_fields(group, config, *flag_fields(config, but=_UNTYPED))
    add_fields(group, SparsityConfig, "strength", without="none, no sparse training")
    add_fields(group, SparsityConfig, "schedule")


def _targets(text: str) -> list[str]:
    chosen = values.texts(text)
    if unknown := set(chosen) - {*VARIANTS}:
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of {','.join(VARIANTS)}")
    return chosen


def _prunings(text: str) -> str:
    """`0.5/0.5,3.7G+1.34M:taylor` as it is, if each element is a way to prune.

    Raises:
        ArgumentTypeError: names the element that is none of the accepted forms, or out of range.
    """
    for element in values.texts(text):
        try:
            PruningConfig.from_word(element)
        except ValidationError as error:
            problems = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
            raise argparse.ArgumentTypeError(f"{element!r}: {problems}; wanted {_PRUNINGS}") from error
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{error}; wanted {_PRUNINGS}") from error
    return text

"""Console script `modnet`: the stages for people, without Prefect, on files of this machine. One file per kind of verb.

Exit codes: 0 done · 1 failed · 2 usage · 3 a setting, file, network or extra of the installation that cannot be used ·
130 interrupted (`tasks.cli.exit_codes`).

What a verb needs is imported when it is asked for, since torch, OpenVINO and their like take seconds: `VERBS` names the
verbs, `tasks.cli.verbs` and `tasks.cli.light_verbs` have the flags of each, and the file of a verb does its work.
"""

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from infra.device.shown import ShownFormatter, ShownParser, shown, shown_lines
from modnet.errors import MissingExtraError
from modnet.extras import missing_extra
from tasks.cli.exit_codes import EXIT_CODES, PartlyDoneError, exit_code, words

__all__ = ["VERBS", "Verb", "main"]


@dataclass(frozen=True)
class Verb:
    """One verb of the command line."""

    run: str  # `module:function` of this folder that does the work; takes what was typed, returns what is printed
    says: str  # what help says of it
    bare: str = ""  # how to do without any extra of the installation; empty where nobody can
    flags: str = "verbs"  # module of this folder that has its flags; `light_verbs` imports no pydantic

    def function(self) -> Callable[[argparse.Namespace], dict[str, Any]]:
        """What `run` names; this is where torch and its like are imported."""
        module, _, name = self.run.partition(":")
        return cast(Callable[..., Any], getattr(importlib.import_module(f"{__name__}.{module}"), name))

    def add_flags(self, parser: argparse.ArgumentParser) -> None:
        """Adds its flags, by the function of the same name in `flags`; most of them import pydantic."""
        from tasks.cli.add_flag import add_flag

        add_flag(parser, "--json", "Prints one JSON object instead of text.", action="store_true")
        getattr(importlib.import_module(f"{__name__}.{self.flags}"), self.run.partition(":")[2])(parser)


VERBS: Mapping[str, Verb] = {
    "dataset fetch": Verb("dataset:fetch_dataset", "Fetches, verifies and indexes a data set."),
    "dataset check": Verb(
        "dataset:check_dataset",
        "Looks at every image of a data set: broken files, copies between its splits, wrong mattes. Exits with 1 when "
        "it finds errors.",
    ),
    "dataset pseudo-label": Verb(
        "dataset:pseudo_label",
        "Adds images without mattes to a data set, with mattes that a teacher makes.",
        "give --teacher IRs or ONNX files of fixed input",
    ),
    "train": Verb("training:train", "Trains an unpruned network from random weights or from a MobileNetV2 backbone."),
    "retrain": Verb("training:retrain", "Retrains a pruned network."),
    "adapt": Verb("training:adapt", "Adapts a trained network to images without mattes."),
    "prune": Verb("pruning:prune", "Removes channels from a network. The channels that stay keep their weights."),
    "sensitivity": Verb(
        "sensitivity:sensitivity",
        "Prunes each channel group alone, measures the error, and makes a plan. A run that was cut goes on.",
    ),
    "inspect": Verb(
        "inspection:inspect",
        "Shows channel groups, parameters and MACs of the deployed graph, before and after pruning.",
    ),
    "evaluate": Verb(
        "evaluate:evaluate",
        "Scores a checkpoint, an ONNX file or an IR on one split.",
        "take --onnx or --ir, another protocol than modelcompression, and no --sheet",
        flags="light_verbs",
    ),
    "infer": Verb(
        "infer:infer",
        "Cuts people out of a photograph, a folder or a video, at their own size: modnet infer photo.jpg.",
        "leave out --checkpoint and protocol modelcompression",
        flags="light_verbs",
    ),
    "export": Verb("export:export", "Writes the deployed graph as ONNX."),
    "optimize": Verb(
        "optimize:optimize",
        "Writes OpenVINO IRs of an ONNX file. The fit split calibrates INT8, the tune split bounds its error.",
    ),
    "benchmark": Verb(
        "benchmark:benchmark",
        "Measures IRs on this machine for each batch size, with the edge agent's code.",
        "leave out --picture",
        flags="light_verbs",
    ),
    "device add": Verb("device:add_device", "Gives a device a key of its own, and prints what to set on the device."),
    "device invite": Verb(
        "device:invite_device", "Makes a token, by which the device gets its key and its settings itself, once."
    ),
    "device list": Verb("device:list_devices", "Shows every device, and when it was added and revoked."),
    "device reports": Verb(
        "reports:list_reports",
        "Shows what devices have measured, as last collected.",
        "take a store in a folder",
        flags="light_verbs",
    ),
    "history": Verb(
        "history:show_history",
        "Shows what nights have gained, what failed, what targets ran, and what to try next.",
        "take a store in a folder",
        flags="light_verbs",
    ),
    "device revoke": Verb("device:revoke_device", "Makes a device's key worthless, at once. Its reports stay."),
    "device pin": Verb("device_pins:pin_device", "Has one device run a release, whatever its target runs."),
    "device unpin": Verb("device_pins:unpin_device", "Has a device run what its target runs again."),
    "device policy": Verb("device:show_policy", "Prints what a device may do in the store, as a policy for AWS's IAM."),
    "support-bundle": Verb(
        "support_bundle:support_bundle",
        "Writes one zip for whoever helps: versions, settings, logs, runs and checks. No secret is in it.",
        flags="light_verbs",
    ),
    "config": Verb("config:config", "Prints the parameters of a compress run, as the Prefect deployment takes them."),
    "release show": Verb(
        "release:show_release", "Shows what a release says of itself: licence, data, how it was made, scores, files."
    ),
    "release list": Verb("release_changes:list_releases", "Lists every release, and which targets run it."),
    "release publish": Verb("release_changes:publish_release", "Publishes an exported network. No target runs it yet."),
    "release promote": Verb("release_changes:promote_release", "Makes targets run a release, once its bytes verify."),
    "release roll-back": Verb("release_changes:roll_back_target", "Makes a target run what it ran before."),
    "release retire": Verb("release_changes:retire_release", "Removes a release that nothing needs."),
    "release retain": Verb("release_changes:retain_releases", "Removes the oldest releases that nothing needs."),
    "release renew": Verb(
        "release_changes:renew_signatures", "Signs what is released anew, as the flow does each day."
    ),
    "release import": Verb("release_changes:import_release", "Signs a release that 0.1.0 published unsigned."),
    "store tidy": Verb("store:tidy_store", "Removes from the store what nothing needs any more. Releases stay."),
    "keys new": Verb("keys:make_keys", "Makes the keys that sign releases. docs/keys.md is the ceremony."),
    "keys sign": Verb("keys:sign_keys", "Signs the root for another year."),
    "keys rotate": Verb("keys:rotate_keys", "Replaces the key of one role, and signs everything anew."),
    "keys show": Verb("keys:show_keys", "Shows which keys count, and until when the root does."),
}
_GROUPS = {
    "dataset": "Fetches a data set, looks at it, or adds images to one.",
    "release": "Looks after what devices run.",
    "store": "Looks after what runs have left.",
    "keys": "Looks after the keys that sign releases.",
    "device": "Devices that may read releases and send reports.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    if logging.lastResort is not None:  # writes the warnings of whoever has set up no logging
        logging.lastResort.setFormatter(ShownFormatter("%(message)s"))
    arguments = sys.argv[1:] if arguments is None else arguments
    partly: PartlyDoneError | None = None
    try:
        options = _parser(next((word for word in arguments if not word.startswith("-")), None)).parse_args(arguments)
        result = options.verb.function()(options)
    except PartlyDoneError as error:
        partly, result = error, error.result
    except ModuleNotFoundError as error:
        missing = _missing_extra(error, arguments)
        if missing is None:
            raise
        return _fail(missing)
    except tuple(EXIT_CODES) as error:
        return _fail(error)
    try:
        _show(result, as_json=options.json)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; Python would try to flush again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if partly is None else _fail(partly)


def _show(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, sort_keys=True))
        return
    for name, value in result.items():
        line = f"{name}: {json.dumps(value) if isinstance(value, dict) else value}"
        print(shown_lines(value) if name == "table" else shown(line))


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """All verbs by name; only the chosen one, or those of the chosen group, with their flags."""
    parser = ShownParser(
        prog="modnet",
        description="Prune, retrain, evaluate and export MODNet portrait matting.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 unusable setting, file or network, 130 interrupted.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    groups = {
        name: verbs.add_parser(name, help=says, description=says).add_subparsers(required=True, metavar="VERB")
        for name, says in _GROUPS.items()
    }
    for name, verb in VERBS.items():
        first, _, second = name.partition(" ")
        added = groups.get(first, verbs).add_parser(second or first, help=verb.says, description=verb.says)
        if first == chosen:
            verb.add_flags(added)
            added.set_defaults(verb=verb)
    return parser


def _missing_extra(error: ModuleNotFoundError, arguments: Sequence[str]) -> MissingExtraError | None:
    typed = [word for word in arguments if not word.startswith("-")]
    name = next((name for name in VERBS if name.split() == typed[: len(name.split())]), None)
    missing = None if name is None else missing_extra(error, f"modnet {name}")
    if name is None or missing is None or not VERBS[name].bare:
        return missing
    return MissingExtraError(f"{missing}; to do without, {VERBS[name].bare}")


def _fail(error: BaseException) -> int:
    print(f"modnet: error: {shown(words(error))}", file=sys.stderr)
    return exit_code(error)

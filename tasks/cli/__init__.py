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
    "config": Verb("config:config", "Prints the parameters of a compress run, as the Prefect deployment takes them."),
}
_GROUPS = {"dataset": "Fetches a data set, or adds images to one."}


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

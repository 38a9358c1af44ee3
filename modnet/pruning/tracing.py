"""What a network does to its channels, found by tracing it: a label for every position of every tensor's channel axis.

`torch.export` writes down what is computed of example inputs. Each of these operations is then done on labels instead
of values, by the rules of `trace_rules`. What no rule is for keeps every channel that it touches.
"""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from modnet.errors import PruningError
from modnet.pruning.channel_trace import ChannelTrace
from modnet.pruning.groups import channel_axes
from modnet.pruning.trace_rules import UNKNOWN, rule_for
from modnet.pruning.trace_values import State, map_values, spread, tensors_in, where

_CONSTANT = "meets a constant of the network's code"


def trace(network: nn.Module, inputs: Sequence[Tensor]) -> ChannelTrace:
    """Labels of the channels of a network, as it computes the example inputs in evaluation mode.

    The channels of inputs and outputs are fixed. So is what an unknown operation touches; `ChannelTrace.unknown` says
    which ones there were. The network is not changed.

    Raises:
        PruningError: the network cannot be traced, because it does not run on these inputs or takes decisions by the
            values that it computes; names the line of its code.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad(), _silent():
            program = torch.export.export(network.eval(), tuple(inputs))
    except Exception as error:  # torch.export raises what the network raises, and a dozen classes of its own
        shapes = ", ".join(str(tuple(one.shape)) for one in inputs)
        first_line = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {first_line}"
        if isinstance(error, GuardOnDataDependentSymNode):
            reason = "its code takes a decision by the values that it computes"
        raise PruningError(
            f"{type(network).__name__} cannot be traced on inputs of {shapes}: {reason} ({_line_of(error)})"
        ) from error
    finally:
        for module, training in modes:
            module.training = training
    return _Walk(network, program).run()


@contextmanager
def _silent() -> Iterator[None]:
    """What torch.export prints and warns of a network, which may be anybody's, says nothing of this project."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _line_of(error: Exception) -> str:
    """The last line of the network's code that an error has passed."""
    torch_folder = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith((torch_folder, __file__))]
    return f"{own[-1].filename}, line {own[-1].lineno}: {own[-1].line}" if own else "in torch"


class _Walk:
    """Goes through a graph operation by operation."""

    def __init__(self, network: nn.Module, program: torch.export.ExportedProgram) -> None:
        self._network = network
        self._program = program
        self._trace = ChannelTrace(network)
        self._labels = self._trace.labels

    def run(self) -> ChannelTrace:
        """The labels after every operation of the graph."""
        kinds = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._trace.values[node] = self._given(node.meta["val"], kinds[node.name])
            elif node.op == "call_function":
                self._trace.values[node] = self._computed(node)
            elif node.op == "output":
                for value in tensors_in(self._trace.arguments(node.args)):
                    self._labels.fix(self._trace.values_of(value), "is an output of the network")
        self._find_axes()
        self._join_names()
        self._keep_the_rest()
        return self._trace

    def _given(self, value: Any, spec: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            return State(spec.target, tuple(value.shape))
        if spec.kind != InputKind.USER_INPUT or value.dim() < 2:
            return self._trace.keeps(value.shape, _CONSTANT)
        labels = self._labels.fresh(value.shape[1])
        self._labels.fix(labels, "is an input of the network")
        return spread(labels, 1, value.shape)

    def _computed(self, node: Node) -> Any:
        arguments = list(self._trace.arguments(node.args))
        if getattr(node.target, "__name__", "") == "getitem":
            return arguments[0][arguments[1]]
        if arguments and isinstance(arguments[0], State):
            arguments[0] = self._trace.values_of(arguments[0])
        rule = rule_for(node.target)
        found = UNKNOWN if rule is None else rule(self._trace, node, *arguments)
        return self._unknown(node) if found is UNKNOWN else found

    def _unknown(self, node: Node) -> Any:
        """Keeps all channels that an operation reads; what it makes has no channels that can go."""
        why = f"{node.target} in {where(node)} is not followed"
        touched = tensors_in(self._trace.arguments([node.args, node.kwargs]))
        if not touched:
            why = _CONSTANT
        for value in touched:
            if not isinstance(value, State):
                self._trace.give_up(value, why)
                continue
            for axis, side in enumerate(value.shape):
                self._trace.holds(value, axis, self._trace.keeps((side,), why))
        return map_values(node.meta.get("val"), lambda value: self._trace.keeps(value.shape, why))

    def _find_axes(self) -> None:
        """Finds the axis of channels in parameters that were used as values; those of several axes stay."""
        for name, whole in self._trace.wholes.items():
            held = [labels for (tensor, _), labels in self._trace.tensors.items() if tensor == name]
            varying = [axis for axis in range(whole.dim()) if self._labels.vary(whole, axis)]
            if len(varying) == 1 and not held:
                self._trace.tensors[name, varying[0]] = self._trace.channels(whole, varying[0])
            elif not varying and not held:
                self._labels.fix(whole, f"{name} is one value for all channels")
            else:
                for labels in (whole, *held):
                    self._trace.give_up(labels, f"{name} is used in a way that is not followed")

    def _join_names(self) -> None:
        """A module that has two names has its tensors twice; two modules that share a tensor would part with it."""
        owners: dict[int, tuple[str, nn.Module]] = {}
        for name, tensor in self._network.state_dict(keep_vars=True).items():
            module = self._network.get_submodule(name.rpartition(".")[0])
            first, owner = owners.setdefault(id(tensor), (name, module))
            for axis in range(tensor.dim() if first != name else 0):
                places = [(one, axis) for one in (first, name)]
                for labels in [self._trace.tensors[place] for place in places if place in self._trace.tensors]:
                    if owner is module:
                        self._trace.tensors.update(dict.fromkeys(places, labels))
                    else:
                        self._trace.give_up(labels, f"{first} and {name} are one tensor in two layers")

    def _keep_the_rest(self) -> None:
        """Tensors and axes that hold no channels of the trace stay: those of layers that do not run, of embeddings."""
        for name, tensor in self._network.state_dict().items():
            module = self._network.get_submodule(name.rpartition(".")[0])
            for axis in range(min(tensor.dim(), channel_axes(module))):
                if (name, axis) not in self._trace.tensors:
                    self._trace.tensors[name, axis] = self._trace.keeps(tensor.shape[axis : axis + 1], "is not used")

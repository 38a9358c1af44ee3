"""From what was typed to what it names: data sets, predictors, how to train. Some imports are where they are used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.cache import hold_around
from infra.settings import Settings
from modnet.configs import DatasetConfig, SparsityConfig, TrainingConfig
from modnet.errors import CheckpointError, ConfigError
from modnet.targets import Shape, Size
from modnet.workloads import USUAL_WORKLOAD, workload_named
from tasks.cli.exit_codes import UsageError
from tasks.cli.fields import given_config
from tasks.cli.flags import OPEN_PROTOCOL, SIZE, Options, Result
from tasks.cli.values import torch_device
from tasks.stored_dataset import local_archive, unpacked

if TYPE_CHECKING:
    from modnet.checkpoint import Checkpoint
    from modnet.graph_function import GraphFunction
    from modnet.network import PrunableNetwork
    from modnet.workload import LabelledData, Workload
    from modnet.workloads.matting.predict.predictors import Predictor


def given_network(path: Path, prune_info: Path | None = None) -> tuple[Workload[Any], Checkpoint[PrunableNetwork]]:
    """The workload that a checkpoint names, and what is in it.

    Raises:
        CheckpointError: the file is missing or damaged, or of a workload that there is not.
    """
    from modnet.checkpoint import read_checkpoint, workload_in

    try:
        workload = workload_named(workload_in(path))
    except ConfigError as error:
        raise CheckpointError(f"{path} holds a network of no known {error}") from error
    return workload, read_checkpoint(path, workload, prune_info)


def given_data(workload: Workload[Any], source: str, network: PrunableNetwork | None = None) -> LabelledData:
    """The data set of a workload in a folder, zip, URL or preset, which the network is sure to fit.

    Raises:
        ConfigError: the network answers another question than the data asks.
    """
    data = workload.open(given_folder(source, workload=workload.name))
    return data if network is None else workload.checked(data, network.output_names)


def given_folder(source: str, sha256: str | None = None, workload: str | None = None) -> Path:
    """The folder of a data set: as it is, or extracted. In the cache it is kept for as long as this process lives."""
    cache = Settings.from_env().cache_folder
    if Path(source).is_dir():
        hold_around(cache, Path(source))
        return Path(source)
    config = DatasetConfig(workload=workload, source=source, sha256=sha256)
    return unpacked(local_archive(config, cache), cache)


def given_predictor(options: Options) -> Predictor:
    """What makes mattes: the checkpoint, the ONNX file or the IRs.

    Raises:
        UsageError: none of them or several, or a prune info without a checkpoint.
    """
    networks = _networks(options)
    if len(networks) != 1:
        raise UsageError("say which network: exactly one of --checkpoint, --onnx and --ir")
    if options.prune_info is not None and (options.onnx or options.ir) is not None:
        raise UsageError("--prune-info would do nothing: it goes with --checkpoint")
    if options.onnx is not None:
        from modnet.workloads.matting.predict.openvino_predictors import OnnxPredictor

        return OnnxPredictor(options.onnx, options.protocol, options.device)
    if options.ir is not None:
        from modnet.workloads.matting.predict.openvino_predictors import ir_predictor

        return ir_predictor(options.ir, options.protocol, options.device)
    from modnet.workloads.matting.checkpoint import load
    from modnet.workloads.matting.predict.predictors import TorchPredictor

    device = torch_device(options.device)
    return TorchPredictor(load(networks[0], options.prune_info), options.protocol or OPEN_PROTOCOL, device)


class GivenGraph(NamedTuple):
    """A network as the flags name it, of any workload."""

    workload: Workload[Any]
    graph: GraphFunction
    shapes: tuple[Shape, ...]  # that it reads; none: any
    output_names: tuple[str, ...]
    network: PrunableNetwork | None = None  # of a checkpoint


def workload_of_options(options: Options) -> str:
    """The name of the workload of the one network among --checkpoint, --onnx and --ir.

    It is the usual one where the file names none, as published ones do, and where flags say that it is: matting's verbs
    then say what is wrong with them.

    Raises:
        CheckpointError, GraphError: the file is missing or damaged.
    """
    if len(_networks(options)) != 1 or options.prune_info is not None:
        return USUAL_WORKLOAD
    if options.checkpoint is not None:
        from modnet.checkpoint import workload_in

        return workload_in(options.checkpoint) or USUAL_WORKLOAD
    paths = [options.onnx] if options.onnx is not None else _irs(options.ir)
    if not paths:
        return USUAL_WORKLOAD
    from modnet.export.graph_file import described, read_graph

    return described(read_graph(paths[0])).workload or USUAL_WORKLOAD


def given_graph(options: Options) -> GivenGraph:
    """The checkpoint, the ONNX file or the IRs as a graph, where `workload_of_options` is another than the usual one.

    A checkpoint reads images at what its training wrote down.

    Raises:
        UsageError: a flag that goes with mattes alone.
    """
    name = workload_of_options(options)
    if options.protocol is not None:
        raise UsageError(f"--protocol goes with workload {USUAL_WORKLOAD!r}, the network is of {name!r}")
    if options.checkpoint is not None:
        from modnet.configs.shape import shape_in
        from modnet.graph_function import TorchGraph

        workload, checkpoint = given_network(options.checkpoint)
        network, read = checkpoint.network, checkpoint.provenance.get("input_shape")
        shapes = () if read is None else (shape_in(read),)
        graph = TorchGraph(network, torch_device(options.device))
        return GivenGraph(workload, graph, shapes, network.output_names, network)
    from modnet.export.graph_file import described, read_graph
    from modnet.export.openvino_graph import OpenvinoGraph, ShapedGraphs

    paths = [options.onnx] if options.onnx is not None else _irs(options.ir)
    graphs = ShapedGraphs([OpenvinoGraph(path, options.device) for path in paths])
    return GivenGraph(workload_named(name), graphs, graphs.shapes, described(read_graph(paths[0])).output_names)


def _networks(options: Options) -> list[Any]:
    return [path for path in (options.checkpoint, options.onnx, options.ir) if path is not None]


def _irs(paths: Sequence[Path]) -> list[Path]:
    return [one for path in paths for one in (sorted(path.glob("*.xml")) if path.is_dir() else [path])]


def given_shape(graph: Path, fixed: Shape | None, size: Size | None) -> Shape:
    """Height and width of a graph's input: what its file fixes, otherwise `--size`.

    Raises:
        ConfigError: a side of `--size` is no multiple of 32, or another than the file's.
    """
    from modnet.configs.shape import shape_of

    if size is None and fixed is not None:
        return fixed
    shape = shape_of(size or SIZE)
    if fixed not in (None, shape):
        raise ConfigError(f"--size {shape[0]}x{shape[1]}: {graph} reads {fixed[0]}×{fixed[1]} pixels only")
    return shape


def given_training(kind: type[TrainingConfig], options: Options, **fields: Any) -> Any:
    """A training config from `fields` and the flags of its other fields, `--sparsity` among them; see `given_config`.

    Raises:
        UsageError: a schedule without a strength.
    """
    if options.sparsity is None and options.sparsity_schedule is not None:
        raise UsageError("--sparsity-schedule says how the strength changes: give the strength with --sparsity")
    sparsity = None if options.sparsity is None else given_config(SparsityConfig, options)
    if getattr(options, "size", None) is not None and options.image_size is None:
        fields["image_size"] = None  # crops have that size
    return given_config(kind, options, sparsity=sparsity, **fields)


def cost(network: PrunableNetwork) -> Result:
    """Parameters and MACs of the deployed graph, for one 512×512 image."""
    from modnet.pruning.complexity import complexity

    found = complexity(network)
    return {"parameters": found.parameters, "macs": found.macs}

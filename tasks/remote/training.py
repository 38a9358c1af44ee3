"""One training on a node: from where an earlier, killed run left off; state and progress stay in the store."""

import platform
from collections.abc import Callable, Sequence

import torch

from infra.errors import OutOfMemoryError, ResourcesUnavailableError
from modnet.configs import TrainingConfig
from modnet.network import PrunableNetwork
from modnet.records import TrainingReport
from modnet.report.training_plots import gamma_plot, training_plot
from modnet.targets import Shape
from tasks.remote.node import Node
from tasks.training_run import run_training
from tasks.training_state import StateOfTraining


def trained(
    node: Node,
    network: PrunableNetwork,
    dataset_id: str,
    config: TrainingConfig,
    *,
    seed: int,
    folder: str,
    teacher: PrunableNetwork | None = None,
    shapes: Sequence[Shape] = (),
    pauses: Callable[[int], bool] | None = None,
) -> TrainingReport:
    """Trains `network`, and puts history and plots into `folder` of the store.

    Raises:
        Paused: `pauses` has said so, see `run_training`.
    """
    device, store = _training_device(node.gpus), node.store
    state = StateOfTraining(node.settings, folder)
    saved, saved_in = state.read(store) or (None, "")
    try:
        report = run_training(
            network,
            node.workload(dataset_id),
            node.data(dataset_id),
            config,
            seed=seed,
            device=device,
            save=state.save,
            tell=state.tell,
            saved=saved,
            saved_in=saved_in,
            parts=node.batch_parts,
            teacher=teacher,
            shapes=shapes,
            pauses=pauses,
        )
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"training on {platform.node()}: its GPU is too small: {error}") from error
    store.put(f"{folder}/training.jsonl", "".join(f"{one.model_dump_json()}\n" for one in report.history).encode())
    store.put(f"{folder}/training.png", training_plot(report.history, folder))
    if report.scales:
        store.put(f"{folder}/scales.png", gamma_plot(report.scales, f"sparse training of {folder}"))
    return report


def _training_device(gpus: float) -> str:
    """The CPU unless a GPU is reserved: Ray shows all of a node's GPUs to a task that reserves none."""
    if not gpus:
        return "cpu"
    if not torch.cuda.is_available():
        raise ResourcesUnavailableError(
            f"training on {platform.node()}: training_gpus reserves {gpus:g} of a GPU, but torch {torch.__version__} "
            "sees none; install its CUDA build, or train with training_gpus 0"
        )
    return "cuda"

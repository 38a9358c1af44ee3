"""What a notebook imports: the functions that the command line and the pipeline call, by one address.

    from modnet.api import apply_plan, evaluate, load, plan_pruning, retrain

Nothing stands behind these names but the functions themselves, and their docstrings describe them. A name is imported
when it is first asked for: cut-outs by an IR need no torch, and `import modnet.api` takes no time. Where the package of
an extra is missing, `MissingExtraError` says which extra brings it. `docs/python-api.md` uses them in order.
"""

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modnet.extras import missing_extra

if TYPE_CHECKING:  # said once: type checkers follow these lines, and `_homes` reads them for Python
    from modnet.checkpoint import read_checkpoint, save_checkpoint
    from modnet.configs.pruning import PruningConfig
    from modnet.configs.training import RetrainConfig, TrainingConfig
    from modnet.data.archives import extract_archive
    from modnet.data.images import read_image
    from modnet.errors import ModnetError
    from modnet.export.onnx_to_openvino import convert_ir
    from modnet.export.torch_to_onnx import export_onnx
    from modnet.policies.adaptive import AdaptivePolicy
    from modnet.policies.budget import BudgetPolicy
    from modnet.policies.global_threshold import GlobalThresholdPolicy
    from modnet.policies.layer_ratios import LayerRatiosPolicy
    from modnet.policies.uniform import UniformPolicy
    from modnet.pruning.complexity import complexity
    from modnet.pruning.criteria import taylor
    from modnet.pruning.plan import PruningPlan, plan_pruning
    from modnet.pruning.surgery import apply_plan
    from modnet.pruning.traced_network import TracedNetwork
    from modnet.training.retrain import retrain
    from modnet.workloads.classification.labelled import ClassFolders
    from modnet.workloads.classification.workload import CLASSIFICATION
    from modnet.workloads.matting.checkpoint import load
    from modnet.workloads.matting.data.dataset import MattingDataset
    from modnet.workloads.matting.data.indexing import index_dataset
    from modnet.workloads.matting.data.preprocessing import prepare
    from modnet.workloads.matting.data.synthetic import write_synthetic_archive
    from modnet.workloads.matting.evaluate import evaluate
    from modnet.workloads.matting.network.modnet import MODNet
    from modnet.workloads.matting.network.spec import ModnetSpec
    from modnet.workloads.matting.portraits import Portraits, alpha_mse
    from modnet.workloads.matting.predict.front_predictor import FrontPredictor
    from modnet.workloads.matting.predict.infer import infer_images
    from modnet.workloads.matting.predict.openvino_predictors import IrPredictor, OnnxPredictor
    from modnet.workloads.matting.predict.predictors import TorchPredictor
    from modnet.workloads.matting.predict.results import renderer
    from modnet.workloads.matting.settings import DistillationConfig
    from modnet.workloads.matting.weights import checkpoint_path
    from modnet.workloads.matting.workload import MATTING


def _homes() -> dict[str, str]:
    """Name → module, as the lines above have it: Python does not run them, so they are read as text."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    lines = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {one.name: str(line.module) for line in lines for one in line.names}


_HOMES = _homes()
__all__ = sorted(_HOMES)


if not TYPE_CHECKING:  # a type checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        """Imports a name when it is first asked for.

        Raises:
            MissingExtraError: an extra brings what it needs.
        """
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(importlib.import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            raise (missing_extra(error, f"{__name__}.{name}") or error) from error
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return __all__

"""What a notebook imports: the functions that the command line and the pipeline call, by one address.

    from modnet.api import apply_plan, evaluate, load, plan_pruning, retrain

Nothing stands behind these names but the functions themselves, and their docstrings describe them. A name is imported
when it is first asked for: cut-outs by an IR need no torch, and `import modnet.api` takes no time. Where the package of
an extra is missing, `MissingExtraError` says which extra brings it. `docs/python-api.md` uses them in order.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modnet.extras import missing_extra

if TYPE_CHECKING:  # for editors and type checkers; `_NAMES` says the same to Python
    from modnet.checkpoint import save_checkpoint as save_checkpoint
    from modnet.configs.pruning import PruningConfig as PruningConfig
    from modnet.configs.training import DistillationConfig as DistillationConfig
    from modnet.configs.training import RetrainConfig as RetrainConfig
    from modnet.configs.training import TrainingConfig as TrainingConfig
    from modnet.data.archives import extract_archive as extract_archive
    from modnet.errors import ModnetError as ModnetError
    from modnet.export.onnx_to_openvino import convert_ir as convert_ir
    from modnet.export.torch_to_onnx import export_onnx as export_onnx
    from modnet.policies.adaptive import AdaptivePolicy as AdaptivePolicy
    from modnet.policies.budget import BudgetPolicy as BudgetPolicy
    from modnet.policies.global_threshold import GlobalThresholdPolicy as GlobalThresholdPolicy
    from modnet.policies.layer_ratios import LayerRatiosPolicy as LayerRatiosPolicy
    from modnet.policies.uniform import UniformPolicy as UniformPolicy
    from modnet.pruning.complexity import complexity as complexity
    from modnet.pruning.criteria import taylor as taylor
    from modnet.pruning.plan import plan_pruning as plan_pruning
    from modnet.pruning.surgery import apply_plan as apply_plan
    from modnet.training.retrain import retrain as retrain
    from modnet.workloads.matting.checkpoint import load as load
    from modnet.workloads.matting.data.dataset import MattingDataset as MattingDataset
    from modnet.workloads.matting.data.images import read_image as read_image
    from modnet.workloads.matting.data.indexing import index_dataset as index_dataset
    from modnet.workloads.matting.data.preprocessing import prepare as prepare
    from modnet.workloads.matting.data.synthetic import write_synthetic_archive as write_synthetic_archive
    from modnet.workloads.matting.evaluate import evaluate as evaluate
    from modnet.workloads.matting.network.modnet import MODNet as MODNet
    from modnet.workloads.matting.network.spec import ModnetSpec as ModnetSpec
    from modnet.workloads.matting.portraits import Portraits as Portraits
    from modnet.workloads.matting.portraits import alpha_mse as alpha_mse
    from modnet.workloads.matting.predict.infer import infer_images as infer_images
    from modnet.workloads.matting.predict.openvino_predictors import IrPredictor as IrPredictor
    from modnet.workloads.matting.predict.openvino_predictors import OnnxPredictor as OnnxPredictor
    from modnet.workloads.matting.predict.predictors import TorchPredictor as TorchPredictor
    from modnet.workloads.matting.predict.results import renderer as renderer
    from modnet.workloads.matting.weights import checkpoint_path as checkpoint_path
    from modnet.workloads.matting.workload import MATTING as MATTING

_NAMES = {
    "modnet.checkpoint": ("save_checkpoint",),
    "modnet.configs.pruning": ("PruningConfig",),
    "modnet.configs.training": ("DistillationConfig", "RetrainConfig", "TrainingConfig"),
    "modnet.data.archives": ("extract_archive",),
    "modnet.workloads.matting.data.indexing": ("index_dataset",),
    "modnet.errors": ("ModnetError",),
    "modnet.export.onnx_to_openvino": ("convert_ir",),
    "modnet.export.torch_to_onnx": ("export_onnx",),
    "modnet.policies.adaptive": ("AdaptivePolicy",),
    "modnet.policies.budget": ("BudgetPolicy",),
    "modnet.policies.global_threshold": ("GlobalThresholdPolicy",),
    "modnet.policies.layer_ratios": ("LayerRatiosPolicy",),
    "modnet.policies.uniform": ("UniformPolicy",),
    "modnet.pruning.complexity": ("complexity",),
    "modnet.pruning.criteria": ("taylor",),
    "modnet.pruning.plan": ("plan_pruning",),
    "modnet.pruning.surgery": ("apply_plan",),
    "modnet.training.retrain": ("retrain",),
    "modnet.workloads.matting.checkpoint": ("load",),
    "modnet.workloads.matting.data.dataset": ("MattingDataset",),
    "modnet.workloads.matting.data.images": ("read_image",),
    "modnet.workloads.matting.data.preprocessing": ("prepare",),
    "modnet.workloads.matting.data.synthetic": ("write_synthetic_archive",),
    "modnet.workloads.matting.evaluate": ("evaluate",),
    "modnet.workloads.matting.network.modnet": ("MODNet",),
    "modnet.workloads.matting.network.spec": ("ModnetSpec",),
    "modnet.workloads.matting.portraits": ("Portraits", "alpha_mse"),
    "modnet.workloads.matting.predict.infer": ("infer_images",),
    "modnet.workloads.matting.predict.openvino_predictors": ("IrPredictor", "OnnxPredictor"),
    "modnet.workloads.matting.predict.predictors": ("TorchPredictor",),
    "modnet.workloads.matting.predict.results": ("renderer",),
    "modnet.workloads.matting.weights": ("checkpoint_path",),
    "modnet.workloads.matting.workload": ("MATTING",),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
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

"""Portrait matting as the engine sees it."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from modnet.backbones.folded_weights import load_folded_backbone
from modnet.workload import Workload
from modnet.workloads.matting.data.synthetic import golden_portraits
from modnet.workloads.matting.distillation import Distillation
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits, alpha_mse
from modnet.workloads.matting.published.layout import read_published
from modnet.workloads.matting.weights import NAMED


def _start_from(network: MODNet, path: Path, images: Sequence[Tensor]) -> None:
    load_folded_backbone(network.backbone, path, images)


MATTING = Workload(
    name=MODNet.workload,
    spec=ModnetSpec,
    network=MODNet,
    loss=matting_loss,
    errors={"mse": "MSE", "mad": "MAD", "sad": "SAD k", "grad": "Grad k", "conn": "Conn k"},
    error=alpha_mse,
    open=Portraits,
    shipped=NAMED,
    golden=golden_portraits,
    teaching=Distillation,
    read_published=read_published,
    start_from=_start_from,
)

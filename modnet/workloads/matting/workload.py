"""Portrait matting as the engine sees it."""

from __future__ import annotations

from pathlib import Path

from modnet.configs import SHIPPED, SHIPPED_PRUNED, SyntheticConfig
from modnet.workload import Workload
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.distillation import Distillation
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.portraits import Portraits, alpha_mse
from modnet.workloads.matting.published.folded_backbone import load_folded_backbone
from modnet.workloads.matting.published.reader import read_published
from modnet.workloads.matting.weights import SHIPPED_BASE, SHIPPED_SMALL


def _draw(path: Path, config: SyntheticConfig) -> None:
    size = (config.height, config.width)
    write_synthetic_archive(path, train=config.train, val=config.val, size=size, seed=config.seed)


MATTING = Workload(
    name=MODNet.workload,
    spec=ModnetSpec,
    network=MODNet,
    loss=matting_loss,
    errors={"mse": "MSE", "mad": "MAD", "sad": "SAD k", "grad": "Grad k", "conn": "Conn k"},
    error=alpha_mse,
    open=Portraits,
    draw=_draw,
    shipped={SHIPPED: SHIPPED_BASE, SHIPPED_PRUNED: SHIPPED_SMALL},
    teaching=Distillation,
    read_published=read_published,
    start_from=load_folded_backbone,
)

"""Portrait matting as the engine sees it."""

from __future__ import annotations

from modnet.workload import Workload
from modnet.workloads.matting.distillation import Distillation
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.published.reader import read_published

MATTING = Workload(
    name=MODNet.workload,
    spec=ModnetSpec,
    network=MODNet,
    loss=matting_loss,
    teaching=Distillation,
    read_published=read_published,
)

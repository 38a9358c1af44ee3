"""The table in `modnet/__init__.py`, step by step: shapes and ranges of one image on its way through training."""

from pathlib import Path

import numpy as np
import torch

from modnet.configs import TrainingConfig
from modnet.data.archives import extract_archive
from modnet.data.batches import batch_of
from modnet.training.retrain import retrain
from modnet.workloads.matting.data.augmentation import alpha_of, augment
from modnet.workloads.matting.data.dataset import MattingDataset
from modnet.workloads.matting.data.decoded import read_shrunk_pair
from modnet.workloads.matting.data.indexing import index_dataset
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from modnet.workloads.matting.data.trimap import trimap_from_alpha
from modnet.workloads.matting.losses import matting_loss
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec
from modnet.workloads.matting.settings import AugmentationConfig
from modnet.workloads.matting.workload import MATTING


def test_one_image_through_training(tmp_path: Path) -> None:
    archive = write_synthetic_archive(tmp_path / "portraits.zip", train=7, val=1, size=(96, 80), seed=5)
    folder = extract_archive(archive, tmp_path / "extracted")
    fit = index_dataset(folder).split("fit")

    image, matte = read_shrunk_pair(folder / fit[0].image, folder / fit[0].matte, (96, 96))
    assert (image.shape, image.dtype) == ((96, 80, 3), np.uint8)
    assert (matte.shape, matte.dtype) == ((96, 80), np.uint16)
    size = 64
    image, matte = augment(image, matte, (size, size), AugmentationConfig(), np.random.default_rng(0), lambda: None)
    assert (image.shape, image.dtype) == ((size, size, 3), np.uint8)
    assert (matte.shape, matte.dtype) == ((size, size), np.uint16)
    alpha = alpha_of(matte)
    assert alpha.dtype == np.float32
    assert 0 <= alpha.min() < alpha.max() <= 1
    trimap = trimap_from_alpha(alpha, np.random.default_rng(0))
    assert (trimap.shape, trimap.dtype) == ((size, size), np.float32)
    assert set(np.unique(trimap)) <= {0, 0.5, 1}
    assert (trimap[(alpha > 0) & (alpha < 1)] == 0.5).all()

    dataset = MattingDataset(folder, fit, size=size, seed=0)
    batch = batch_of([dataset[0], dataset[1]])
    assert batch.image.shape == (2, 3, size, size)
    assert batch.trimap.shape == batch.alpha.shape == (2, 1, size, size)
    assert -1 <= batch.image.min() < batch.image.max() <= 1
    assert torch.equal(batch.alpha[batch.trimap != 0.5], batch.trimap[batch.trimap != 0.5])  # of the augmented matte

    torch.manual_seed(0)
    network = MODNet(ModnetSpec.tiny()).train()
    encoded = network.backbone(batch.image)
    assert [tuple(features.shape[2:]) for features in encoded] == [(32, 32), (16, 16), (2, 2)]
    assert network.semantic(encoded.enc32x).shape[2:] == (8, 8)
    prediction = network(batch.image)
    assert prediction.semantic.shape == (2, 1, 4, 4)
    assert prediction.detail.shape == prediction.alpha.shape == (2, 1, size, size)
    assert all(0 <= output.min() <= output.max() <= 1 for output in prediction)

    loss = matting_loss(prediction, batch)
    assert min(term.item() for term in loss.values()) >= 0
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    report = retrain(
        network,
        dataset,
        TrainingConfig(epochs=40, batch_size=3, image_size=size, learning_rate=1e-2),
        workload=MATTING,
        seed=0,
    )
    assert any(not torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    losses = [one.loss for one in report.history]
    assert sum(losses[-5:]) < sum(losses[:5])

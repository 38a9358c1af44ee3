"""A network without instance norms computes nearly what it computed with them."""

from __future__ import annotations

import pytest
import torch

from modnet.workloads.matting.network.batch_norms import with_batch_norms
from modnet.workloads.matting.network.blocks import IBNorm
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.network.spec import ModnetSpec


@pytest.fixture
def network() -> MODNet:
    torch.manual_seed(0)
    made = MODNet(ModnetSpec.tiny())
    made.train()
    for _ in range(2):  # running statistics that are not those of a fresh network
        made(torch.rand(2, 3, 64, 96) * 2 - 1)
    return made.eval()


def test_nothing_changes_for_an_image_whose_statistics_were_taken(network: MODNet) -> None:
    image, other = (torch.rand(1, 3, 64, 96) * 2 - 1 for _ in range(2))
    changed = with_batch_norms(network, [image])
    assert not any(isinstance(one, IBNorm) and one.instance is not None for one in changed.modules())
    assert not changed.training
    with torch.no_grad():
        torch.testing.assert_close(changed.deployed()(image), network.deployed()(image), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(changed.deployed()(other), network.deployed()(other), atol=1e-5)


def test_statistics_are_those_of_all_images(network: MODNet) -> None:
    images = [torch.rand(1, 3, 64, 96) * 2 - 1 for _ in range(3)]
    seen = []
    norm = network.detail.to_enc2x.norm
    with norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, norm.batch_channels :])):
        for image in images:
            network(image)
    batch = with_batch_norms(network, images).detail.to_enc2x.norm.batch
    together = torch.cat(seen)
    torch.testing.assert_close(batch.running_mean[norm.batch_channels :], together.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(
        batch.running_var[norm.batch_channels :], together.var(dim=(0, 2, 3), correction=0), rtol=1e-4, atol=1e-6
    )


def test_a_network_without_instance_norms_stays_as_it_is(network: MODNet) -> None:
    once = with_batch_norms(network, [torch.rand(1, 3, 64, 64)])
    twice = with_batch_norms(once, [torch.rand(1, 3, 64, 64)])
    assert all(torch.equal(value, twice.state_dict()[name]) for name, value in once.state_dict().items())

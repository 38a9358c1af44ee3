"""Each term is zero on perfect input and equals a case worked out by hand."""

import pytest
import torch

from modnet.workloads.matting.data.dataset import Sample
from modnet.workloads.matting.losses import detail_loss, matte_loss, matting_loss, semantic_loss
from modnet.workloads.matting.network.modnet import MattePrediction

ALPHA = torch.tensor([[[[1.0, 0.6], [0.2, 0.0]]]])
TRIMAP = torch.tensor([[[[1.0, 0.5], [0.5, 0.0]]]])
UNKNOWN = TRIMAP == 0.5
PREDICTED = torch.tensor([[[[0.9, 0.5], [0.5, 0.3]]]])


def test_matting_loss_is_zero_when_prediction_is_perfect() -> None:
    alpha = torch.ones(2, 1, 64, 64)
    batch = Sample(torch.rand(2, 3, 64, 64), torch.full_like(alpha, 0.5), alpha)
    loss = matting_loss(MattePrediction(torch.ones(2, 1, 4, 4), alpha, alpha), batch)
    for term in loss.values():
        assert term.item() == pytest.approx(0, abs=1e-12)


def test_detail_loss_equals_hand_computed_case() -> None:
    # Only the unknown band counts: |0.5 - 0.6| and |0.5 - 0.2|, over all 4 pixels, times 10.
    assert detail_loss(PREDICTED, ALPHA, TRIMAP, UNKNOWN).item() == pytest.approx(10 * (0.1 + 0.3) / 4)


def test_matte_loss_equals_hand_computed_case() -> None:
    image = torch.full((1, 3, 2, 2), -0.5)
    everywhere = (0.1 + 0.1 + 0.3 + 0.3) / 4
    border = (0.1 + 0.3) / 4
    wanted = everywhere + 4 * border + 0.5 * everywhere + 4 * 0.5 * border
    assert matte_loss(PREDICTED, ALPHA, image, TRIMAP, UNKNOWN).item() == pytest.approx(wanted)


def test_semantic_loss_equals_hand_computed_case() -> None:
    # A 48×48 matte that is 1 in its middle 16×16 block shrinks to 3×3 with 1 in the middle; the blur spreads it.
    alpha = torch.zeros(1, 1, 48, 48)
    alpha[..., 16:32, 16:32] = 1
    side = torch.exp(torch.tensor(-1 / (2 * 0.8**2)))
    line = torch.stack((side, torch.ones(()), side)) / (1 + 2 * side)
    kernel = torch.outer(line, line)
    # Reflection doubles nothing here: the border of the 3×3 map is zero, its reflection brings in the middle row.
    middle, edge, corner = kernel[1, 1], 2 * kernel[0, 1], 4 * kernel[0, 0]
    target = torch.stack((corner, edge, corner, edge, middle, edge, corner, edge, corner))
    wanted = 10 * target.square().mean()
    assert semantic_loss(torch.zeros(1, 1, 3, 3), alpha).item() == pytest.approx(wanted.item(), rel=1e-5)

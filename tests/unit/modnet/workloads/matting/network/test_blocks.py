"""The layers' fast ways compute what the plain ones do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modnet.backbones.mobilenet_v2 import ConvBN
from modnet.workloads.matting.network.blocks import IBNorm, resize
from modnet.workloads.matting.network.doubling import doubled
from modnet.workloads.matting.network.ib_norm import ib_norm, ib_norm_evaluated
from modnet.workloads.matting.network.spec import SplitWidth

Results = tuple[Tensor, ...]


@pytest.mark.parametrize(("batch", "instance"), [(5, 4), (1, 1), (6, 6), (16, 16), (20, 12)])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 12), (16, 32), (5, 7)])
def test_ib_norm_is_its_two_norms(batch: int, instance: int, height: int, width: int) -> None:
    """Values, gradients and running statistics, in float64."""
    norm, x, gradient = case(batch, instance, height, width)
    expected = results(norm, x, gradient, fast=False)
    got = results(norm, x, gradient, fast=True)
    assert got[0].is_contiguous(memory_format=torch.channels_last)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("batch", "instance"), [(5, 4), (1, 1), (16, 16), (20, 12)])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 12), (5, 7)])
def test_ib_norm_evaluated_is_its_two_norms_in_evaluation_mode(
    batch: int, instance: int, height: int, width: int
) -> None:
    norm, x, _ = case(batch, instance, height, width)
    norm(x.contiguous())  # running statistics that are not 0 and 1
    norm.eval()
    assert norm.batch is not None
    got = ib_norm_evaluated(x, norm.batch)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, norm(x.contiguous()), rtol=1e-10, atol=1e-10)


def test_ib_norm_in_bfloat16_is_as_exact_as_its_two_norms() -> None:
    """Against float64, on channels whose means are several deviations; sums are kept in float32."""
    norm, x, gradient = case(12, 12, 32, 32)
    x, gradient = x.bfloat16(), gradient.bfloat16()
    exact = results(norm, x.double(), gradient.double(), fast=False)
    plain = results(norm.float(), x, gradient, fast=False)
    fast = results(norm.float(), x, gradient, fast=True)
    for one, other, right in zip(fast, plain, exact, strict=True):
        assert (one - right).double().square().mean() <= 1.5 * (other - right).double().square().mean() + 1e-12


def test_ib_norm_twice_gives_the_same_bits() -> None:
    norm, x, gradient = case(6, 6, 64, 64)
    first, second = (results(norm.float(), x.bfloat16(), gradient.bfloat16(), fast=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_channels_that_come_last_take_the_fast_way(dtype: torch.dtype, error: float) -> None:
    """They stay last, which torch's instance norm would not leave them. Evaluation with gradients is plain."""
    norm, x, _ = case(8, 8, 16, 16)
    norm, x = norm.float(), x.to(dtype)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)
    assert norm(x.contiguous()).is_contiguous()
    plain = norm.eval()(x)
    assert plain.is_contiguous()
    with torch.no_grad():
        fast = norm(x)
        assert norm(x.contiguous()).is_contiguous()
    assert fast.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast, plain, rtol=error, atol=error)


def test_strided_depthwise_convolution_under_autocast() -> None:
    """The float32 way of bfloat16 values: gradients agree with those of float32 within rounding."""
    torch.manual_seed(0)
    layer = ConvBN(8, 8, 3, stride=2, groups=8).to(memory_format=torch.channels_last)
    x = torch.randn(2, 8, 16, 16).bfloat16().to(memory_format=torch.channels_last)
    gradients, computed_in = [], []
    layer.conv.register_forward_pre_hook(lambda _, inputs: computed_in.append(inputs[0].dtype))
    for dtype in (torch.float32, torch.bfloat16):
        image = x.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            out = layer(image)
        assert out.dtype == dtype
        gradients.append(torch.autograd.grad(out.square().sum(), (image, layer.conv.weight)))
    assert computed_in == [torch.float32, torch.float32]
    for exact, rounded in zip(*gradients, strict=True):
        assert (rounded - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 8, 5, 7), (1, 16, 64, 64)])
def test_doubling_has_the_gradient_of_interpolation(shape: tuple[int, ...]) -> None:
    """In float64, for a gradient that is a part of a wider one, as a concatenation hands back."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(memory_format=torch.channels_last)
    wide = torch.randn(shape[0], shape[1] + 3, 2 * shape[2], 2 * shape[3], generator=generator, dtype=torch.float64)
    gradient = wide.to(memory_format=torch.channels_last)[:, : shape[1]]
    x.requires_grad_()
    own, torchs = doubled(x), F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(own, torchs)
    torch.testing.assert_close(*(torch.autograd.grad(one, x, gradient)[0] for one in (own, torchs)))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_only_training_with_channels_last_takes_the_other_gradient(dtype: torch.dtype, error: float) -> None:
    """Torch's gradient comes out of `F.interpolate` itself; both agree within the rounding of the format."""
    x = torch.randn(2, 8, 12, 12, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(2, 8, 24, 24, generator=torch.Generator().manual_seed(1))
    gradients = []
    for layout, doubles in ((torch.contiguous_format, False), (torch.channels_last, True)):
        leaf = x.to(dtype, copy=True, memory_format=layout).requires_grad_()
        result = resize(leaf, 2)
        assert ("Doubled" in type(result.grad_fn).__name__) is doubles
        gradients.append(torch.autograd.grad(result, leaf, weights.to(dtype))[0].float())
    torch.testing.assert_close(*gradients, rtol=error, atol=error)
    assert "Doubled" not in type(resize(leaf, 0.5).grad_fn).__name__
    assert resize(leaf.detach(), 2).grad_fn is None


def case(batch: int, instance: int, height: int, width: int) -> tuple[IBNorm, Tensor, Tensor]:
    """A norm, an input with channels last, and a gradient of its output, in float64."""
    generator = torch.Generator().manual_seed(0)
    norm = IBNorm(SplitWidth(batch=batch, instance=instance)).double()
    assert norm.batch is not None
    nn.init.uniform_(norm.batch.weight, 0.5, 2, generator=generator)
    nn.init.normal_(norm.batch.bias, generator=generator)
    shape = 3, batch + instance, height, width
    x, gradient = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    offsets = 3 * torch.randn(shape[1], 1, 1, generator=generator, dtype=torch.float64)
    return norm, (x + offsets).to(memory_format=torch.channels_last), gradient


def results(norm: IBNorm, x: Tensor, gradient: Tensor, *, fast: bool) -> Results:
    """What a training step makes of a copy of the norm: values, gradients, running statistics."""
    norm = copy.deepcopy(norm)
    x = x.clone().requires_grad_()
    batch, instance = norm.batch, norm.instance
    assert batch is not None
    assert instance is not None
    half = batch.num_features
    y = ib_norm(x, batch) if fast else torch.cat((batch(x[:, :half]), instance(x[:, half:])), dim=1)
    torch.autograd.backward(y, gradient)
    kept = batch.running_mean, batch.running_var, batch.num_batches_tracked
    found = (y.detach(), x.grad, *(one.grad for one in norm.parameters()), *kept)
    return tuple(one for one in found if one is not None)

"""The training loop: of a pruned network, or of the unpruned one from nothing."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable

import torch
from tqdm import tqdm

from modnet.configs import TrainingConfig
from modnet.data.dataset import MattingDataset, batch_indices, batch_of, prefetch
from modnet.errors import CheckpointError, TrainingDivergedError
from modnet.models.modnet import MODNet
from modnet.records import ScaleDistribution, TrainingReport
from modnet.training.losses import matting_loss
from modnet.training.schedule import cosine_with_warm_up
from modnet.training.slimming import add_penalty, prunable_scales, scale_distribution, strength_at


def retrain(
    network: MODNet,
    dataset: MattingDataset,
    config: TrainingConfig,
    *,
    seed: int,
    resume_from: bytes | None = None,
    after_epoch: Callable[[int, bytes], None] | None = None,
) -> TrainingReport:
    """Trains `network` in place and says how it went.

    On the CPU the result depends on (weights, data set, config, seed) alone, also when the run was cut and resumed.

    Args:
        network: any MODNet, on the device where it shall be trained.
        dataset: samples of size `config.image_size`.
        seed: of the order of samples; the data set has its own for what happens inside one.
        resume_from: what an earlier, cut run of the same question gave to `after_epoch`.
        after_epoch: called with the number of finished epochs and the state to resume from.

    Raises:
        TrainingDivergedError: the loss is not finite.
        CheckpointError: `resume_from` is damaged or of another network.
    """
    began = time.monotonic()
    device = next(network.parameters()).device
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    epoch_losses, scales = _resumed(resume_from, network, optimiser)
    epochs_done = len(epoch_losses)
    sparse_scales = [] if config.sparsity is None else prunable_scales(network)
    if config.sparsity is not None and not scales:
        scales.append(scale_distribution(sparse_scales))
    uses_bf16 = config.precision == "bf16" or (config.precision == "auto" and computes_bf16(device))
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs

    steps_per_epoch = len(batch_indices(len(dataset), config.batch_size, seed, 0))
    total_steps = config.epochs * steps_per_epoch
    step = epochs_done * steps_per_epoch
    last_loss: float | None = epoch_losses[-1] if epoch_losses else None
    with tqdm(total=total_steps, initial=step, desc="training", unit="step", disable=None) as progress:
        for epoch in range(epochs_done, config.epochs):
            dataset.set_epoch(epoch)
            batches = batch_indices(len(dataset), config.batch_size, seed, epoch)
            losses = []
            for batch in prefetch(batch_of([dataset[i] for i in indices]) for indices in batches):
                for group in optimiser.param_groups:
                    group["lr"] = config.learning_rate * cosine_with_warm_up(step / total_steps)
                batch = type(batch)(*(tensor.to(device) for tensor in batch))
                image = batch.image.contiguous(memory_format=torch.channels_last)
                with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16):
                    prediction = network(image)
                # Sums over a whole matte lose too much in bfloat16.
                loss = matting_loss(type(prediction)(*(output.float() for output in prediction)), batch).total
                if not torch.isfinite(loss):
                    raise TrainingDivergedError(
                        f"the loss is {loss.item()} at step {step} of {total_steps} (last finite: {last_loss}); "
                        f"a learning rate below {config.learning_rate:g} may help",
                        step=step,
                        last_finite_loss=last_loss,
                    )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if config.sparsity is not None:
                    add_penalty(sparse_scales, strength_at(config.sparsity, step / total_steps))
                torch.nn.utils.clip_grad_norm_(network.parameters(), config.max_gradient_norm)
                optimiser.step()
                last_loss = loss.detach().item()
                losses.append(last_loss)
                step += 1
                progress.set_postfix(loss=f"{last_loss:.3f}", refresh=False)
                progress.update()
            epoch_losses.append(math.fsum(losses) / len(losses))
            if config.sparsity is not None:
                scales.append(scale_distribution(sparse_scales))
            if after_epoch is not None:
                after_epoch(epoch + 1, _state(network, optimiser, epoch_losses, scales))
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return TrainingReport(
        epochs=config.epochs,
        steps=total_steps,
        images_seen=config.epochs * len(dataset),
        epoch_losses=tuple(epoch_losses),
        precision="bf16" if uses_bf16 else "fp32",
        seconds=time.monotonic() - began,
        scales=tuple(scales),
    )


def computes_bf16(device: torch.device) -> bool:
    """True where bfloat16 arithmetic is done by the processor and not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _state(
    network: MODNet, optimiser: torch.optim.Optimizer, epoch_losses: list[float], scales: list[ScaleDistribution]
) -> bytes:
    content = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "epoch_losses": epoch_losses,
        "scales": [one.model_dump() for one in scales],
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _resumed(
    state: bytes | None, network: MODNet, optimiser: torch.optim.Optimizer
) -> tuple[list[float], list[ScaleDistribution]]:
    """Losses and scales of the finished epochs, with network and optimiser put back to where they were."""
    if state is None:
        return [], []
    try:
        content = torch.load(io.BytesIO(state), map_location="cpu", weights_only=True)
        network.load_state_dict(content["network"])
        optimiser.load_state_dict(content["optimiser"])
        losses = [float(loss) for loss in content["epoch_losses"]]
        scales = [ScaleDistribution.model_validate(one) for one in content["scales"]]
    except Exception as error:  # torch raises many kinds for damaged or foreign content
        raise CheckpointError(f"cannot resume training from {len(state)} bytes of saved state: {error}") from error
    return losses, scales

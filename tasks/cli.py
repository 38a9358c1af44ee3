"""Console script `modnet`: the stages for people, without Prefect, on files of this machine.

Exit codes: 0 done · 1 failed · 2 usage · 3 a setting, file or network that cannot be used · 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError

from infra.edge_agent.latency import measure
from infra.edge_agent.runtime import load_ir, runtime_text
from infra.errors import InfraError, SettingsError
from infra.reports import summarise
from infra.settings import Settings
from modnet.checkpoint import load, read_checkpoint, save_checkpoint
from modnet.configs import CompressConfig, DatasetConfig, PruningConfig, RetrainConfig, TrainingConfig
from modnet.data.archives import DatasetIndex, extract_archive, index_dataset
from modnet.data.dataset import MattingDataset
from modnet.data.download import sha256_of_file
from modnet.data.images import Protocol, prepare, read_image, write_matte
from modnet.errors import CheckpointError, ConfigError, DatasetError, ModnetError
from modnet.evaluation.complexity import complexity, layer_costs
from modnet.evaluation.evaluate import Predictor
from modnet.evaluation.evaluate import evaluate as evaluate_predictor
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.predictors import IrPredictor, TorchPredictor
from modnet.export.torch_to_onnx import export_onnx
from modnet.files import write_atomically
from modnet.models.modnet import MODNet
from modnet.pruning.plan import plan_pruning
from modnet.pruning.surgery import apply_plan
from modnet.records import TrainingReport
from modnet.spec import ModnetSpec
from modnet.training.retrain import retrain as train_network
from tasks.leaderboard import markdown_table
from tasks.stored_dataset import local_archive

Options = argparse.Namespace
Result = dict[str, Any]
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        result: Result = options.run(options)
    except (ConfigError, SettingsError, CheckpointError, DatasetError) as error:
        return _fail(error, 3)
    except (ModnetError, InfraError, OSError) as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    if options.json:
        print(json.dumps(result, sort_keys=True))
    else:
        for name, value in result.items():
            print(value if name == "table" else f"{name}: {json.dumps(value) if isinstance(value, dict) else value}")
    return 0


def fetch_dataset(options: Options) -> Result:
    """Fetches, verifies and indexes a data set."""
    folder, index = _dataset(options.source, sha256=options.sha256)
    return {
        "folder": str(folder),
        "fit": len(index.split("fit")),
        "tune": len(index.split("tune")),
        "val": len(index.val),
    }


def train(options: Options) -> Result:
    """Trains an unpruned network from random weights."""
    torch.manual_seed(options.seed)
    config = _config(TrainingConfig, options)
    return _trained(MODNet(ModnetSpec.full()), config, options, {"training": config.model_dump()})


def prune(options: Options) -> Result:
    """Removes channels from a network; the pruned one keeps the weights of those that stay."""
    network = load(options.checkpoint, options.prune_info)
    config = _config(PruningConfig, options)
    plan = plan_pruning(network, config)
    compact = apply_plan(network, plan)
    provenance = {"base": sha256_of_file(options.checkpoint), "pruning": config.model_dump()}
    path = save_checkpoint(compact, options.out / "pruned.safetensors", provenance)
    write_atomically(options.out / "plan.json", plan.model_dump_json().encode())
    return {"checkpoint": str(path), **_cost(compact)}


def retrain(options: Options) -> Result:
    """Retrains a pruned network."""
    checkpoint = read_checkpoint(options.checkpoint, options.prune_info)
    config = _config(RetrainConfig, options)
    network = checkpoint.network
    if config.initialise == "scratch":
        torch.manual_seed(options.seed)
        network = MODNet(network.spec)
    return _trained(network, config, options, {**checkpoint.provenance, "retrain": config.model_dump()})


def evaluate(options: Options) -> Result:
    """Scores a checkpoint or an IR on one split."""
    folder, index = _dataset(options.dataset)
    scores = evaluate_predictor(_predictor(options), folder, index, options.split, options.protocol)
    result = {name: getattr(scores, name) for name in ("mse", "mad", "images", "split", "protocol")}
    return result | (_cost(load(options.checkpoint, options.prune_info)) if options.checkpoint else {})


def infer(options: Options) -> Result:
    """Writes the matte of each image as PNG, at the image's size."""
    predictor = _predictor(options)
    images = [options.input]
    if options.input.is_dir():
        images = sorted(path for path in options.input.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise DatasetError(f"{options.input} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
    stems = [path.stem for path in images]
    if len(set(stems)) < len(stems):
        raise DatasetError(f"{options.input} holds images of equal name, whose mattes would overwrite each other")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in images:
        write_matte(options.out / f"{path.stem}.png", predictor(read_image(path)))
    return {"mattes": len(images), "folder": str(options.out)}


def export(options: Options) -> Result:
    """Writes the deployed graph as ONNX."""
    options.out.mkdir(parents=True, exist_ok=True)
    network = load(options.checkpoint, options.prune_info)
    path = export_onnx(network, options.out / "model.onnx", size=options.size, dynamic=options.dynamic)
    return {"onnx": str(path), "size_bytes": path.stat().st_size}


def optimize(options: Options) -> Result:
    """Writes OpenVINO IRs of an ONNX file; INT8 is calibrated on the data set's fit split."""
    calibration = None
    if "int8" in options.precisions:
        if options.dataset is None:
            raise ConfigError(
                "INT8 is calibrated on images: say which with --dataset, or leave int8 out of --precisions"
            )
        folder, index = _dataset(options.dataset)
        pairs = index.split("fit")[: options.calibration_images]
        calibration = [prepare(read_image(folder / pair.image), "device-512").pixels.numpy() for pair in pairs]
    files = convert_ir(options.onnx, options.out, precisions=options.precisions, calibration=calibration)
    return {precision: str(ir.xml) for precision, ir in files.items()}


def inspect(options: Options) -> Result:
    """Shows parameters and MACs per layer and branch of the deployed graph."""
    network = load(options.checkpoint, options.prune_info)
    costs = layer_costs(network, options.size)
    branches: dict[str, list[int]] = {}
    for path, cost in costs.items():
        total = branches.setdefault(path.split(".")[0], [0, 0])
        total[0], total[1] = total[0] + cost[0], total[1] + cost[1]
    whole = [sum(values) for values in zip(*branches.values(), strict=True)]
    if options.json:
        return {
            **_cost(network, options.size),
            "branches": {name: {"parameters": p, "macs": m} for name, (p, m) in branches.items()},
            "layers": {name: {"parameters": p, "macs": m} for name, (p, m) in costs.items()},
            "spec": network.spec.model_dump(),
        }
    lines = [
        *costs.items(),
        *((f"**{name}**", values) for name, values in branches.items()),
        ("**deployed graph**", whole),
    ]
    rows = [{"layer": name, "parameters": f"{p:,}", "MMAC": f"{m / 1e6:,.1f}"} for name, (p, m) in lines]
    return {"table": markdown_table(rows)}


def benchmark(options: Options) -> Result:
    """Measures an IR on this machine with the edge agent's code, for each batch size."""
    rows = []
    for batch in options.batch:
        model = load_ir(options.ir, device=options.device.upper(), threads=options.threads, batch=batch)
        samples = measure(model.run_once, warm_up=options.warm_up, repeats=options.repeats)
        summary = summarise(samples.samples_ms)
        rows.append(
            {
                "batch": str(batch),
                "p50 ms": f"{summary.p50_ms:.2f}",
                "p90 ms": f"{summary.p90_ms:.2f}",
                "p99 ms": f"{summary.p99_ms:.2f}",
                "images/s": f"{1000 * batch / summary.p50_ms:.2f}",
                "precision": str(model.precision),
            }
        )
    return {"runtime": runtime_text(), "rows": rows} if options.json else {"table": markdown_table(rows)}


def config(options: Options) -> Result:
    """The parameters of a compress run, as the Prefect deployment takes them."""
    checkpoint = None if options.base is None else os.path.abspath(options.base)
    chosen: CompressConfig = getattr(CompressConfig, options.profile)(checkpoint)
    update: dict[str, Any] = {}
    if options.dataset is not None:
        is_path = options.dataset not in ("synthetic", "ppm-100") and "://" not in options.dataset
        update["dataset"] = DatasetConfig(source=os.path.abspath(options.dataset) if is_path else options.dataset)
    if options.pruning:
        update["pruning"] = tuple(
            PruningConfig(backbone_threshold=threshold, global_ratio=ratio) for threshold, ratio in options.pruning
        )
    return {"config": chosen.model_copy(update=update).model_dump(mode="json")}


def _trained(network: MODNet, config: TrainingConfig, options: Options, provenance: Result) -> Result:
    """Trains and saves; a cut run goes on from the state file beside the output."""
    folder, index = _dataset(options.dataset)
    samples = MattingDataset(folder, index.split("fit"), size=config.image_size, seed=options.seed)
    state = options.out.with_name(options.out.name + ".training-state")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report: TrainingReport = train_network(
        network.to(options.device),
        samples,
        config,
        seed=options.seed,
        resume_from=state.read_bytes() if state.exists() else None,
        after_epoch=lambda epoch, content: write_atomically(state, content),
    )
    save_checkpoint(network.to("cpu"), options.out, {**provenance, "seed": options.seed})
    state.unlink(missing_ok=True)
    final = {"loss": report.epoch_losses[-1], "images_seen": report.images_seen, "seconds": round(report.seconds, 1)}
    return {"checkpoint": str(options.out), **final, **_cost(network)}


def _dataset(source: str, sha256: str | None = None) -> tuple[Path, DatasetIndex]:
    """Folder and index of a folder, zip, URL or preset."""
    if Path(source).is_dir():
        return Path(source), index_dataset(Path(source))
    cache = Settings.from_env().cache_folder
    archive = local_archive(DatasetConfig(source=source, sha256=sha256), cache / "archives")
    folder = extract_archive(archive, cache / "datasets")
    return folder, index_dataset(folder)


def _predictor(options: Options) -> Predictor:
    if (options.checkpoint is None) == (options.ir is None):
        raise ConfigError("say which network: either --checkpoint or --ir, not both and not none")
    if options.ir is not None:
        return IrPredictor(options.ir, options.protocol)
    return TorchPredictor(load(options.checkpoint, options.prune_info), options.protocol, options.device)


def _config(kind: type[Any], options: Options) -> Any:
    """A config from the flags of its fields' names; those not given keep their defaults."""
    given = {name: getattr(options, name) for name in kind.model_fields if getattr(options, name, None) is not None}
    try:
        return kind(**given)
    except ValidationError as error:
        problems = "; ".join(f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}" for e in error.errors())
        raise ConfigError(problems) from error


def _cost(network: MODNet, size: int = 512) -> Result:
    cost = complexity(network, size)
    return {"parameters": cost.parameters, "macs": cost.macs}


def _fail(error: object, code: int) -> int:
    print(f"modnet: error: {error}", file=sys.stderr)
    return code


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _precisions(text: str) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - {"fp32", "fp16", "int8"}:
        raise argparse.ArgumentTypeError(f"got {sorted(unknown)}, wanted some of fp32,fp16,int8")
    return chosen


def _pruning(text: str) -> list[tuple[float, float]]:
    """`0.5/0.5,0.3/0.25`: threshold/ratio pairs."""
    return [(float(threshold), float(ratio)) for threshold, ratio in (pair.split("/") for pair in text.split(","))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modnet",
        description="Prune, retrain, evaluate and export MODNet portrait matting.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 unusable setting, file or network, 130 interrupted.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Callable[[Options], Result], *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=run.__doc__, description=run.__doc__, parents=[output, *parents])
        added.set_defaults(run=run)
        return added

    output = _flags()
    output.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    network = _flags()
    network.add_argument(
        "--checkpoint", type=Path, required=True, help="of this project, of the official MODNet or of the seed"
    )
    network.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint")
    either = _flags()
    either.add_argument("--checkpoint", type=Path, help="of this project, of the official MODNet or of the seed")
    either.add_argument("--prune-info", type=Path, help="the seed's JSON beside a pruned seed checkpoint")
    either.add_argument("--ir", type=Path, help="OpenVINO .xml, its .bin beside it; takes the protocol device-512")
    either.add_argument("--protocol", choices=get_args(Protocol), default="seed", help="preprocessing (default: seed)")
    data = _flags()
    data.add_argument("--dataset", required=True, help="synthetic, ppm-100, a zip, a folder or a URL")
    seed = _flags()
    seed.add_argument("--seed", type=int, default=0, help="same seed, same result (default: 0)")
    device = _flags()
    device.add_argument("--device", default="cpu", help="cpu, or cuda (default: cpu)")
    out_folder = _flags()
    out_folder.add_argument("--out", type=Path, required=True, help="folder to write into")
    training = _flags()
    training.add_argument("--out", type=Path, required=True, help="checkpoint to write (.safetensors)")
    for name, kind in (("epochs", int), ("batch-size", int), ("image-size", int), ("learning-rate", float)):
        training.add_argument(
            f"--{name}", type=kind, help=TrainingConfig.model_fields[name.replace("-", "_")].description
        )
    training.add_argument("--precision", choices=("auto", "fp32", "bf16"))

    dataset = verbs.add_parser("dataset", help="fetches a data set").add_subparsers(required=True, metavar="VERB")
    fetch = dataset.add_parser("fetch", help=fetch_dataset.__doc__, parents=[output])
    fetch.add_argument("source", help="synthetic, ppm-100, a zip or a URL")
    fetch.add_argument("--sha256", help="refuse an archive with another digest")
    fetch.set_defaults(run=fetch_dataset)
    verb("train", train, data, seed, device, training)
    pruning = verb("prune", prune, network, out_folder)
    for name, kind in (
        ("backbone-threshold", float),
        ("global-ratio", float),
        ("channel-multiple", int),
        ("min-channels", int),
    ):
        pruning.add_argument(
            f"--{name}", type=kind, help=PruningConfig.model_fields[name.replace("-", "_")].description
        )
    retraining = verb("retrain", retrain, network, data, seed, device, training)
    retraining.add_argument("--initialise", choices=("pruned", "scratch"))
    evaluation = verb("evaluate", evaluate, either, data, device)
    evaluation.add_argument("--split", choices=("val", "tune", "fit", "train"), default="val")
    inference = verb("infer", infer, either, device, out_folder)
    inference.add_argument("--input", type=Path, required=True, help="an image, or a folder of images")
    exporting = verb("export", export, network, out_folder)
    exporting.add_argument("--size", type=int, default=512, help="side of the square input (default: 512)")
    exporting.add_argument("--dynamic", action="store_true", help="batch, height and width stay open")
    optimizing = verb("optimize", optimize, out_folder)
    optimizing.add_argument("--onnx", type=Path, required=True)
    optimizing.add_argument("--dataset", help="calibrates INT8: synthetic, ppm-100, a zip, a folder or a URL")
    optimizing.add_argument(
        "--precisions", type=_precisions, default=["fp32", "fp16", "int8"], help="some of fp32,fp16,int8"
    )
    optimizing.add_argument("--calibration-images", type=int, default=24)
    inspection = verb("inspect", inspect, network)
    inspection.add_argument("--size", type=int, default=512, help="side of the square input (default: 512)")
    measuring = verb("benchmark", benchmark, device)
    measuring.add_argument("--ir", type=Path, required=True, help="OpenVINO .xml, its .bin beside it")
    measuring.add_argument("--batch", type=_integers, default=[1], help="batch sizes, as 1,2,4")
    measuring.add_argument("--threads", type=int, help="inference threads (default: the runtime's choice)")
    measuring.add_argument("--warm-up", type=int, default=5)
    measuring.add_argument("--repeats", type=int, default=50)
    configuring = verb("config", config)
    configuring.add_argument("--profile", choices=("demo", "standard"), default="demo")
    configuring.add_argument("--dataset", help="synthetic, ppm-100, a zip or a URL")
    configuring.add_argument("--base", help="checkpoint to prune; without it one is trained in the run")
    configuring.add_argument("--pruning", type=_pruning, help="threshold/ratio pairs, as 0.5/0.5,0.3/0.25")
    return parser


def _flags() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(add_help=False)


if __name__ == "__main__":
    sys.exit(main())

"""What each target's IR computes on the runtimes that read it, and what the compiler of the stick makes of it.

python -m benchmarks.variants --dataset portraits.zip --base modnet.ckpt [--images 20] [--plan PLAN]

Needs `make legacy-runtimes`. For the unpruned network: largest and mean difference of alpha to torch's on two portraits
in float32, on the current runtime and on the old ones; MSE and MAD on val. For it and for the plan's network, which is
not retrained, so that only its size is meant: blob and stages of the compiler.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.inputs import HEADLINE_PLAN, UNPRUNED, extracted, input_parser, networks
from modnet.configs import ExportConfig
from modnet.data.images import read_image
from modnet.export.export import export_network
from modnet.export.legacy_runtimes import LegacyRuntime, verify_on_legacy
from modnet.export.onnx_to_openvino import convert_ir
from modnet.export.torch_to_onnx import export_onnx
from modnet.graph_function import TorchGraph
from modnet.targets import LEGACY_RUNTIMES, VARIANTS, Target
from modnet.workloads.matting.data.preprocessing import prepare
from modnet.workloads.matting.evaluate import Predictor, evaluate
from modnet.workloads.matting.network.modnet import MODNet
from modnet.workloads.matting.predict.openvino_predictors import IrPredictor
from modnet.workloads.matting.predict.predictors import TorchPredictor
from tasks.tables import markdown_table

STICK: Target = "ncs2-fp16"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = input_parser("What each target's IR computes, and what the stick's compiler says.")
    parser.add_argument("--plan", type=Path, default=HEADLINE_PLAN, help="of pruning (default: the headline's)")
    parser.add_argument("--targets", default=",".join(VARIANTS), help="comma-separated (default: all)")
    parser.add_argument("--images", type=int, default=20, help="of val to score (default: 20)")
    parser.add_argument("--legacy", type=Path, default=Path(".modnet/legacy"), help="folder of the old runtimes")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets.split(",")) - set(VARIANTS):
        parser.error(f"--targets: got {sorted(unknown)}, wanted some of {','.join(VARIANTS)}")
    compared = networks(options.base, [options.plan])
    print(markdown_table(_compiled(compared, options.legacy)))
    print()
    print(markdown_table(_computed(compared[UNPRUNED], options)))
    return 0


def _compiled(networks: Mapping[str, MODNet], legacy: Path) -> list[dict[str, str]]:
    rows = []
    for name, network in networks.items():
        with TemporaryDirectory() as temporary:
            onnx_path = export_onnx(network, Path(temporary) / "network.onnx")
            xml = convert_ir(onnx_path, Path(temporary), targets=[STICK])[STICK].xml
            said = LegacyRuntime(legacy, LEGACY_RUNTIMES[0]).compile_for_stick(xml)
            file_mb = (xml.stat().st_size + xml.with_suffix(".bin").stat().st_size) / 1e6
        verdict = "accepted" if said.get("accepted") else said["words"]
        blob_mb = f"{said.get('blob_bytes', 0) / 1e6:.2f}"
        stages = str(said.get("stages", ""))
        rows.append(
            {"network": name, "compiler": verdict, "IR MB": f"{file_mb:.2f}", "blob MB": blob_mb, "stages": stages}
        )
    return rows


def _computed(network: MODNet, options: argparse.Namespace) -> list[dict[str, str]]:
    folder, index = extracted(options.dataset, options.cache)
    few = index.model_copy(update={"val": index.val[: options.images]})
    targets = [target for target in VARIANTS if target in options.targets.split(",")]
    count = ExportConfig().calibration_images
    inputs = [prepare(read_image(folder / one.image), "device-512").pixels for one in index.split("fit")[:count]]
    with TemporaryDirectory() as temporary:
        exported = Path(temporary) / "export"
        report = export_network(network, exported, targets=targets, calibration=inputs, parity_images=inputs[:2])
        predictors: dict[str, Predictor] = {"torch": TorchPredictor(network, "device-512")}
        predictors |= {
            one: IrPredictor(exported / f"modnet-{one}.xml", "device-512")
            for one in targets
            if one not in report.refused
        }
        rows = []
        for name, predictor in predictors.items():
            scores = evaluate(predictor, folder, few, "val", "device-512")
            parity = report.parity.get(name)
            rows.append(
                {
                    "form": name,
                    "runtime": "current",
                    "largest difference": "" if parity is None else f"{parity.max_difference:.1e}",
                    "mean difference": "" if parity is None else f"{parity.mean_difference:.1e}",
                    "val MSE": f"{scores.errors['mse']:.6f}",
                    "val MAD": f"{scores.errors['mad']:.6f}",
                }
            )
        xml, reference = exported / f"modnet-{STICK}.xml", TorchGraph(network)
        asked = xml.exists()  # it was chosen and is not refused
        for check in verify_on_legacy(xml, VARIANTS[STICK], reference, inputs[:2], options.legacy) if asked else ():
            if check.mean_difference is not None and check.max_difference is not None:
                differences = {
                    "largest difference": f"{check.max_difference:.1e}",
                    "mean difference": f"{check.mean_difference:.1e}",
                }
                rows.append(dict.fromkeys(rows[0], "") | {"form": STICK, "runtime": check.by} | differences)
    rows += [
        dict.fromkeys(rows[0], "") | {"form": one, "runtime": f"refused: {why}"} for one, why in report.refused.items()
    ]
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

"""`modnet export`."""

from __future__ import annotations

from modnet.checkpoint import load
from modnet.export.torch_to_onnx import export_onnx
from tasks.cli.flags import Options, Result


def export(options: Options) -> Result:
    """Writes the deployed graph as ONNX."""
    options.out.mkdir(parents=True, exist_ok=True)
    network = load(options.checkpoint, options.prune_info)
    path = export_onnx(network, options.out / "model.onnx", size=options.size, dynamic=options.dynamic)
    return {"onnx": str(path), "size_bytes": path.stat().st_size}

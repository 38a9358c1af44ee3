"""`modnet export`."""

from modnet.export.torch_to_onnx import export_onnx
from tasks.cli.exit_codes import UsageError
from tasks.cli.flags import SIZE, Options, Result, require_free
from tasks.cli.given import given_network


def export(options: Options) -> Result:
    """Writes the deployed graph as ONNX."""
    if options.dynamic and options.size is not None:
        raise UsageError("--size would do nothing: with --dynamic height and width stay open")
    file = options.out / "model.onnx"
    require_free(options, file)
    network = given_network(options.checkpoint, options.prune_info)[1].network
    options.out.mkdir(parents=True, exist_ok=True)
    path = export_onnx(network, file, size=options.size or SIZE, dynamic=options.dynamic)
    return {"onnx": str(path), "size_bytes": path.stat().st_size}

"""What `pip install modnet-edge` leaves out, and which extra brings it.

Alone it cuts people out, scores and measures with ONNX files and IRs. `modnet-edge[train]` prunes, trains and exports,
`modnet-edge[pipeline]` runs the nights.
"""

from collections.abc import Mapping

from modnet.errors import MissingExtraError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("matplotlib", "nncf", "onnx", "rich", "safetensors", "torch"),
    "pipeline": (
        *("boto3", "botocore", "cryptography", "httpx", "optuna", "prefect", "prometheus_client", "ray"),
        *("securesystemslib", "starlette", "tuf", "uvicorn", "yaml"),
    ),
}
"""Extra of pyproject.toml → the packages that it brings and that this project imports."""


def missing_extra(error: ModuleNotFoundError, who: str) -> MissingExtraError | None:
    """What to say when an extra's package that `who`, as "modnet train", needs is missing; None where it is none."""
    package = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
    if extra is None:
        return None
    return MissingExtraError(f"{who} needs {package}, which is not installed: pip install 'modnet-edge[{extra}]'")

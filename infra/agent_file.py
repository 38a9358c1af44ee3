"""Makes the edge agent one file, `python -m infra.agent_file dist/modnet-agent.pyz`, which any Python since 3.9 starts.

A zip of `infra/device`, of tuf with what it needs in pure Python, of a TOML reader for Python 3.9, and of their
licences. The same sources give the same bytes, on one zlib. numpy and openvino, boto3 and cryptography come from pip.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from infra.device.errors import SettingsError
from infra.device.files.atomic_file import atomic_file

PROJECT = Path(__file__).resolve().parents[1]
WHEELS = PROJECT / ".modnet" / "agent-wheels"
MOST_BYTES = 300_000
# tuf 5.1.0 is the last for Python 3.9, and does on newer ones as well.
PINNED = {
    "tuf-5.1.0-py3-none-any.whl": "6494848d2720ced600e0d7ee23b4986623ddad1148ad8e54ffe308db18b762fe",
    "securesystemslib-1.3.1-py3-none-any.whl": "2e5414bbdde33155a91805b295cbedc4ae3f12b48dccc63e1089093537f43c81",
    "tomli-2.0.2-py3-none-any.whl": "2ebe24485c53d303f690b0ec092806a085f07af5a5aa1464f3931eec36caaa38",
}
_LEFT_OUT = ("test_", "tuf/repository/")  # of the wheels
_START = b'''"""Starts the agent."""
import sys

if sys.version_info < (3, 9):
    sys.exit("modnet-agent: needs Python 3.9 or newer, this is %d.%d" % sys.version_info[:2])

from infra.device.__main__ import main

sys.exit(main())
'''
# tuf's own fetcher imports requests. The agent gives tuf a fetcher of its own (infra.device.trust).
_FETCHER = "tuf/ngclient/_internal/requests_fetcher.py"
_NO_FETCHER = b'''"""Stands for tuf's fetcher, which needs requests: `infra.device.trust` gives tuf another one."""
from tuf.ngclient.fetcher import FetcherInterface


class RequestsFetcher(FetcherInterface):
    def _fetch(self, url):
        raise NotImplementedError("left out of this file")
'''
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the file, and prints its size and SHA-256."""
    parser = argparse.ArgumentParser(prog="python -m infra.agent_file", description="Makes the edge agent one file.")
    parser.add_argument("path", type=Path, help="of the file, as dist/modnet-agent.pyz")
    path: Path = parser.parse_args(arguments).path
    fetch_wheels(WHEELS)
    content = agent_file(WHEELS)
    with atomic_file(path) as file:
        file.write(content)
    path.chmod(0o755)
    sys.stdout.write(f"{path}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n")
    return 0


def fetch_wheels(folder: Path) -> None:
    """Has pip download the pinned wheels, where they are not there; pip compares their digests.

    Raises:
        SettingsError: pip cannot.
    """
    if all((folder / name).exists() for name in PINNED):
        return
    folder.mkdir(parents=True, exist_ok=True)
    requirements = folder / "requirements.txt"
    lines = ("{}=={} --hash=sha256:{}".format(*name.split("-")[:2], digest) for name, digest in PINNED.items())
    requirements.write_text("\n".join(lines))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SettingsError(f"pip cannot download {sorted(PINNED)}: {ended.stderr[-2000:]}")


def agent_file(wheels: Path) -> bytes:
    """The file's content.

    Args:
        wheels: folder that `fetch_wheels` has filled.

    Raises:
        SettingsError: a wheel is not the pinned one, or the file became larger than MOST_BYTES.
    """
    files = {"__main__.py": _START, "licenses/modnet-edge/LICENSE": (PROJECT / "LICENSE").read_bytes()}
    for path in [PROJECT / "infra" / "__init__.py", *(PROJECT / "infra" / "device").rglob("*")]:
        if path.suffix in (".py", ".service"):
            files[path.relative_to(PROJECT).as_posix()] = path.read_bytes()
    for name, digest in PINNED.items():
        files.update(_content(wheels / name, digest))
    files[_FETCHER] = _NO_FETCHER
    for name in [name for name in files if name.endswith(".py") and "/" in name]:
        # A package without this file is found in a folder, and not in a zip (securesystemslib._internal).
        files.setdefault(f"{name.rpartition('/')[0]}/__init__.py", b"")
    content = BytesIO(b"#!/usr/bin/env python3\n")
    content.seek(0, 2)
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, files[name], compresslevel=9)
    if len(content.getvalue()) > MOST_BYTES:
        raise SettingsError(f"agent file: has {len(content.getvalue())} bytes, wanted at most {MOST_BYTES}")
    return content.getvalue()


def _content(wheel: Path, digest: str) -> dict[str, bytes]:
    """Modules and licences of a wheel, by their names in the agent's file."""
    data = wheel.read_bytes()
    if (got := hashlib.sha256(data).hexdigest()) != digest:
        raise SettingsError(f"{wheel}: got SHA-256 {got}, wanted {digest}; remove it")
    files = {}
    with zipfile.ZipFile(BytesIO(data)) as packed:
        for name in packed.namelist():
            last = name.rpartition("/")[2]
            if ".dist-info/" in name:
                if last.startswith("LICENSE"):
                    files[f"licenses/{wheel.name.split('-')[0]}/{last}"] = packed.read(name)
            elif name.endswith(".py") and not any(left_out in name for left_out in _LEFT_OUT):
                files[name] = packed.read(name)
    return files


if __name__ == "__main__":
    sys.exit(main())

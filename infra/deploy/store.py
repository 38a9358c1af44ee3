"""The S3 server in a container: `python -m infra.deploy.store --folder /srv/store --devices … --secrets …`.

SeaweedFS as `make up` runs it. It also learns within seconds when a device was added or revoked: the registry of
devices is looked at, and SIGHUP lets SeaweedFS read its identities anew.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from infra.deploy.children import run_together
from infra.device.errors import InfraError
from infra.device.files.atomic_file import atomic_file
from infra.device.shown import ShownParser, shown
from infra.ingest.devices import DeviceRegistry
from infra.local_stack.ports import choose_ports
from infra.local_stack.services import STORE_LISTENERS, store_command
from infra.local_stack.store_identities import store_identities
from infra.local_stack.store_security import write_store_security


def main() -> int:
    """Serves until SIGTERM, and returns the exit code."""
    parser = ShownParser(prog="python -m infra.deploy.store", description="SeaweedFS, with the devices of a registry.")
    parser.add_argument("--folder", type=Path, required=True, help="of objects, logs and certificates")
    parser.add_argument("--devices", type=Path, required=True, help="devices.json, which `modnet device` writes")
    parser.add_argument("--secrets", type=Path, required=True, help="JSON file: the secret of `pipeline` and `ingest`")
    parser.add_argument("--port", type=int, required=True, help="of S3; the store's other ports are on loopback")
    parser.add_argument("--address", default="127.0.0.1", help="that S3 listens on")
    options = parser.parse_args()
    data, security, logs = (options.folder / name for name in ("seaweedfs", "security", "log"))
    identities: Path = options.folder / "identities.json"
    registry = DeviceRegistry(options.devices)
    written = b""

    def tell(processes: list[subprocess.Popen[bytes]]) -> None:
        nonlocal written
        try:
            known = json.dumps(store_identities(secrets, registry.devices().values())).encode()
        except InfraError as error:  # a registry that cannot be read changes nothing
            sys.stderr.write(f"{shown(error)}\n")
            return
        if known != written:
            with atomic_file(identities) as partial:
                partial.write(known)
            for process in processes:
                process.send_signal(signal.SIGHUP)
            written = known

    try:
        secrets = json.loads(options.secrets.read_text())
        for folder in (data, logs):
            folder.mkdir(parents=True, exist_ok=True)
        write_store_security(security)
        tell([])
        ports = choose_ports(dict.fromkeys(STORE_LISTENERS, 0), {"s3": options.port})
        command = store_command(
            ports,
            data=data,
            identities=identities,
            security=security,
            log_folder=logs,
            s3_address=options.address,
        )
    except (InfraError, OSError, ValueError) as error:
        sys.stderr.write(f"{shown(error)}\n")
        return 3
    return run_together([command], tell)


if __name__ == "__main__":
    sys.exit(main())

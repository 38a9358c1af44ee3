from __future__ import annotations

from pathlib import Path

from infra.local_stack.services import STORE_LISTENERS, store_command


def test_store_command_knows_its_own_services_by_loopback(tmp_path: Path) -> None:
    """By the machine's address, objects of before could not be found once it has another one."""
    ports = {name: 18000 + number for number, name in enumerate(STORE_LISTENERS)}
    command = store_command(
        ports, data=tmp_path, identities=tmp_path / "identities.json", security=tmp_path, log_folder=tmp_path
    )
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1"} <= set(command)

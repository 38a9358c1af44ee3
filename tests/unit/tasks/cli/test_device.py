"""`modnet device`, with no services running; tests/integration/test_local_stack.py has them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from infra.device.documents.grant import SECRET_DIGITS
from infra.ingest.devices import DeviceRegistry
from infra.ingest.invitations import Invitations
from infra.ingest.refusal import RefusedError
from infra.local_stack.state import StackState
from tasks.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODNET_STORE", "s3://models/of-us")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    return tmp_path


def test_a_device_is_added_shown_and_revoked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "list"]) == 0
    assert capsys.readouterr().out == "no devices\n"
    assert main(["device", "add", "kitchen-1"]) == 0
    said = capsys.readouterr().out
    (entry,) = json.loads((folder / ".modnet" / "devices.json").read_text())["devices"]
    assert f"export AWS_SECRET_ACCESS_KEY={entry['secret']}\n" in said
    command = (
        "python -m infra.device --store s3://models/of-us --root root.json --ingest https://INGEST --device kitchen-1"
    )
    assert command in said
    assert main(["device", "revoke", "kitchen-1"]) == 0
    assert capsys.readouterr().out.startswith("device: kitchen-1, revoked at 20")
    assert main(["device", "list"]) == 0
    listed = capsys.readouterr().out
    assert "| kitchen-1 | device-kitchen-1 | 20" in listed
    assert entry["secret"] not in listed


def test_a_device_takes_the_key_that_aws_has_made(folder: Path, run: Any, refuse: Any) -> None:
    path = folder / "key.json"
    path.write_text(
        json.dumps({"AccessKey": {"AccessKeyId": "AKIA1", "SecretAccessKey": "secret", "Status": "Active"}})
    )
    added = run("device", "add", "attic", "--aws", path)
    assert added["environment"] == {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "secret"}
    path.write_text('{"AccessKey": {}}')
    code, words = refuse("device", "add", "cellar", "--aws", path)
    assert (code, "wanted the JSON that `aws iam create-access-key` prints" in words) == (3, True)


def test_a_key_of_aws_is_for_the_store_that_is_set_also_where_a_stack_was_started(folder: Path, run: Any) -> None:
    StackState({}, {"s3": 8333, "ingest": 8343}).write(folder / ".modnet" / "stack.json")
    path = folder / "key.json"
    path.write_text(json.dumps({"AccessKey": {"AccessKeyId": "AKIA1", "SecretAccessKey": "secret"}}))
    added = run("device", "add", "attic", "--aws", path)
    assert "AWS_ENDPOINT_URL" not in added["environment"]
    assert "--store s3://models/of-us --root root.json --ingest https://INGEST" in added["command"]
    of_stack = run("device", "add", "cellar")
    assert of_stack["environment"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8333"
    assert "--store s3://modnet --root root.json --ingest http://127.0.0.1:8343" in of_stack["command"]


def test_a_device_is_invited_by_a_token_that_gives_its_key(folder: Path, run: Any, refuse: Any) -> None:
    root = folder / "root.json"
    root.write_text('{"signed": {}}')
    invited = run("device", "invite", "kitchen-1", "--root", root, "--targets", "cpu-int8,ncs2-fp16")
    token = invited["token"]
    assert invited["command"] == f"python3 modnet-agent.pyz enrol https://INGEST {token}"
    assert token[SECRET_DIGITS:] == hashlib.sha256(root.read_bytes()).hexdigest()[:32]
    registry = DeviceRegistry(folder / ".modnet" / "devices.json")
    secret = registry.devices()["kitchen-1"].secret
    again = run("device", "invite", "kitchen-1", "--root", root, "--targets", "cpu-int8,ncs2-fp16")["token"]
    grant = Invitations(folder / ".modnet" / "invitations.json").redeem(again[:SECRET_DIGITS], registry)
    assert (grant.device, grant.secret, grant.store) == ("kitchen-1", secret, "s3://models/of-us")
    assert grant.targets == ("cpu-int8", "ncs2-fp16")
    unused = run("device", "invite", "kitchen-1", "--root", root)["token"]
    run("device", "revoke", "kitchen-1")
    run("device", "add", "kitchen-1")
    with pytest.raises(RefusedError, match="no such token"):  # whoever has it is no longer invited
        Invitations(folder / ".modnet" / "invitations.json").redeem(unused[:SECRET_DIGITS], registry)
    run("device", "invite", "kitchen-1", "--root", root)
    assert registry.devices()["kitchen-1"].secret != secret
    code, words = refuse("device", "invite", "кухня", "--root", root)
    assert (code, "got 'кухня', wanted 1 to 128 of A-Z a-z" in words) == (3, True)
    code, words = refuse("device", "invite", "attic", "--root", folder / "gone.json")
    assert (code != 0, "gone.json" in words) == (True, True)
    assert "attic" not in registry.devices()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "a/b"], "got 'a/b', wanted 1 to 128 of"),
        (["add", "attic"], "'attic': there since"),
        (["revoke", "cellar"], "'cellar': unknown, wanted one of ['attic']"),
    ],
)
def test_what_cannot_be_done_is_told(run: Any, refuse: Any, arguments: list[str], words: str) -> None:
    run("device", "add", "attic")
    code, said = refuse("device", *arguments)
    assert (code, words in said) == (3, True)


def test_the_policy_for_aws_is_of_the_store_that_is_set(run: Any) -> None:
    reads, lists = run("device", "policy")["policy"]["Statement"]
    assert reads["Resource"][0] == "arn:aws:s3:::models/of-us/releases/*"
    assert lists["Condition"]["StringLike"]["s3:prefix"][0] == "of-us/releases/*"
    assert (reads["Action"], lists["Action"]) == (["s3:GetObject"], ["s3:ListBucket"])


@pytest.mark.parametrize(("whose", "below"), [("ingest", "reports/"), ("pipeline", "")])
def test_the_policy_may_be_that_of_a_service(whose: str, below: str, run: Any) -> None:
    allowed, lists = run("device", "policy", "--whose", whose)["policy"]["Statement"]
    assert allowed["Resource"] == [f"arn:aws:s3:::models/of-us/{below}*"]
    assert "s3:PutObject" in allowed["Action"]
    assert ("s3:DeleteObject" in allowed["Action"]) == (whose == "pipeline")
    assert lists["Action"] == ["s3:ListBucket"]

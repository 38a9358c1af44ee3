"""What of a data set's address is stored and shown: nothing that lets others in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.device.stores.folder_store import FolderStore
from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.records import DatasetRecord
from modnet.report.run_tables import data_note
from modnet.workloads.matting.data.synthetic import write_synthetic_archive
from tasks.dataset import put_dataset
from tasks.stored_dataset import publish_dataset


class QuietHandler(SimpleHTTPRequestHandler):
    """Files of a folder, whatever the query says."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An archive that is given to whoever knows a token."""
    write_synthetic_archive(tmp_path / "portraits.zip", train=5, val=1, size=(96, 64), seed=0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/portraits.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def test_publish_dataset_keeps_the_token_of_its_url_to_itself(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODNET_CACHE", str(tmp_path / "cache"))
    store = FolderStore(tmp_path / "store")
    record = publish_dataset(DatasetConfig(source=f"{url}?token=secret"), Settings.from_env(), store)
    assert record.source == url
    assert b"secret" not in store.get(f"datasets/{record.dataset_id}/dataset.json")
    assert url in data_note(record)


def test_dataset_record_that_was_stored_with_a_token_is_read_without() -> None:
    stored = {
        "dataset_id": "d",
        "archive": {"key": "a.zip", "sha256": "0" * 64, "size_bytes": 1},
        "source": "https://user:password@example.com/portraits.zip?token=secret",
        "is_synthetic": False,
        **dict.fromkeys(("fit", "tune", "val"), 4),
    }
    assert DatasetRecord.model_validate(stored).source == "https://example.com/portraits.zip"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://example.com/portraits.zip?token=secret", "dataset https://example.com/portraits.zip"),
        ("/home/somebody/portraits.zip", "dataset portraits.zip"),
        ("synthetic", "dataset synthetic"),
    ],
)
def test_task_run_is_named_by_what_may_be_read(source: str, name: str) -> None:
    assert put_dataset.task_run_name.format(config=DatasetConfig(source=source)) == name

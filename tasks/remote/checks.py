"""What is wrong with a data set."""

from modnet.evaluation.data_check import check_data
from modnet.records import StoredCheck
from tasks.data_page import data_page
from tasks.remote.node import Node
from tasks.stored import STAGE_VERSIONS, identify, put_file


def check_key(dataset_id: str) -> str:
    """Where the StoredCheck of a data set is; its page lies beside it."""
    return f"checks/{identify(dataset=dataset_id, version=STAGE_VERSIONS['check'])}.json"


def check_stored(node: Node, dataset_id: str, key: str) -> StoredCheck:
    """Looks at every image of a published data set, see `check_data`; for the key see `check_key`."""
    check, thumbnails = check_data(node.data(dataset_id))
    page = data_page(f"Data set {dataset_id}", check, thumbnails)
    stored = put_file(node.store, key.replace(".json", ".html"), page)
    return StoredCheck(dataset_id=dataset_id, check=check, page=stored)

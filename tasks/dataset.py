"""Task of the flow prepare_dataset."""

from prefect import get_run_logger, task

from infra.settings import Settings
from modnet.configs import DatasetConfig
from modnet.records import DatasetRecord
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store
from tasks.stored_dataset import publish_dataset


@task(task_run_name="dataset {config.label}", retry_condition_fn=is_transient, **RETRIES)
def put_dataset(config: DatasetConfig) -> DatasetRecord:
    """Fetches, verifies and indexes a data set and puts it into the store; transient: download and store."""
    record = publish_dataset(config, Settings.from_env(), this_store())
    get_run_logger().info(
        "data set %s: %d to fit, %d to tune, %d to report", record.dataset_id, record.fit, record.tune, record.val
    )
    return record

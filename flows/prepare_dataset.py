"""Flow prepare-dataset."""

from prefect import flow

from modnet.configs import DatasetConfig
from modnet.records import DatasetRecord
from tasks.dataset import put_dataset


@flow(name="prepare-dataset")
def prepare_dataset(config: DatasetConfig = DatasetConfig()) -> DatasetRecord:
    """Fetches a data set of labelled images, verifies and indexes it, and puts it into the object store.

    The result's `dataset_id` is what the other flows ask for.
    """
    return put_dataset(config)

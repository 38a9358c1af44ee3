"""Flow check-dataset."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from modnet.configs import ComputeConfig
from modnet.records import StoredCheck
from tasks.check_dataset import look_at_images


@flow(name="check-dataset")
def check_dataset(
    dataset_id: str, max_unreadable: Annotated[int, Field(ge=0)] = 0, compute: ComputeConfig = ComputeConfig()
) -> StoredCheck:
    """Looks at every image of a data set before anything learns from it: a table, and a page with pictures.

    Broken files, copies between splits and what its workload finds wrong with labels are errors, which end this flow,
    or warnings. So many broken files of *fit* as a training bears (`max_unreadable`) are a warning.
    """
    return look_at_images(dataset_id, max_unreadable, compute)

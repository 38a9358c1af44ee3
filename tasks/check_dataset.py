"""Task of the flow check_dataset."""

from prefect import get_run_logger, task

from infra.device.shown import shown
from modnet.configs import ComputeConfig
from modnet.errors import DatasetError
from modnet.records import StoredCheck
from modnet.report.data_tables import finding_rows, split_rows
from tasks.artifacts import create_link_artifact, create_table_artifact
from tasks.on_ray import recalled_or_computed
from tasks.remote.checks import check_key, check_stored
from tasks.retries import RETRIES, is_transient
from tasks.stored import this_store


@task(task_run_name="check {dataset_id}", retry_condition_fn=is_transient, **RETRIES)
def look_at_images(dataset_id: str, max_unreadable: int, compute: ComputeConfig) -> StoredCheck:
    """Looks at every image on Ray, shows what is wrong, and stops the run where that makes the data useless.

    Raises:
        DatasetError: there are errors; says all of them.
    """
    store, key = this_store(), check_key(dataset_id)
    stored = recalled_or_computed(
        *(key, StoredCheck, check_stored, dataset_id, key), cpus=1, compute=compute, name=f"check {dataset_id}"
    )
    check = stored.check.allowing(max_unreadable)
    create_table_artifact(split_rows(check), key="data-images", description="The data set.")
    create_table_artifact(finding_rows(check), key="data-check", description=check.summary)
    page = stored.page.key
    create_link_artifact(store.link(page), key="data", link_text="Check of the data", description=page)
    get_run_logger().info("data set %s: %s", dataset_id, check.summary)
    for one in check.warnings:
        get_run_logger().warning("%s", shown(one.sentence))
    if check.errors:
        found = "; ".join(shown(one.sentence) for one in check.errors)
        raise DatasetError(f"data set {dataset_id} cannot be used, see {page} in the store: {found}")
    return stored.model_copy(update={"check": check})

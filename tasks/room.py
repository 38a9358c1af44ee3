"""Task of the flow compress that comes before all others."""

from prefect import get_run_logger, task

from infra.settings import Settings
from tasks.configs.compress import CompressConfig
from tasks.needed_room import needed_room, require_room_for


@task
def look_for_room(config: CompressConfig) -> None:
    """Refuses a run for which the disks of this machine have too little room; see `tasks.needed_room`."""
    settings = Settings.from_env()
    require_room_for(config, settings)
    total = sum(size for _, size in needed_room(config, settings).values())
    get_run_logger().info("the disks have the room that the run needs, at most %.1f GB", total / 1e9)

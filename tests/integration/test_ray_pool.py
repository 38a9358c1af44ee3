"""A real local Ray: results, errors, lost workers, limits and cancellation reach the caller as promised."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra import ray_pool
from infra.device.errors import SettingsError
from infra.errors import ResourcesUnavailableError, WorkerLostError
from infra.ray_pool import CALLS_PER_PROCESS, run_on_ray, shutdown
from modnet.errors import ParityError, TrainingDivergedError

OWN = ("MODNET_KEYS", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    """Started from a task's thread that ends at once, as Prefect's threads do."""
    with pytest.MonkeyPatch.context() as environment:
        for name in OWN:
            environment.setenv(name, "/of/the/flow/alone")
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(run_on_ray, os.getpid, timeout_s=60).result() != os.getpid()
        assert {os.environ.get(name) for name in OWN} == {"/of/the/flow/alone"}
    yield
    shutdown()


def own_variables() -> list[str]:
    return [name for name in OWN if name in os.environ]


def test_workers_are_not_told_where_keys_are_nor_what_prefect_asks_for() -> None:
    assert run_on_ray(own_variables, timeout_s=60) == []


def threads_and_sum(numbers: list[int]) -> tuple[str, int]:
    return os.environ["OMP_NUM_THREADS"], sum(numbers)


def diverge() -> None:
    raise TrainingDivergedError("loss is nan at step 7", step=7, last_finite_loss=0.5)


def lose_parity() -> None:
    raise ParityError("alpha differs", 0.3, 0.1)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stay(pid_file: Path) -> None:
    pid_file.write_text(str(os.getpid()))
    time.sleep(120)


def pid_in(pid_file: Path) -> int:
    """Waits for a worker that runs `stay`."""
    deadline = time.monotonic() + 30
    while not (pid_file.exists() and pid_file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(pid_file.read_text())


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int) -> bool:
    """True when a killed process is gone within what a busy machine needs for it."""
    deadline = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_running(pid)


def test_run_on_ray_gives_the_result_and_the_threads_that_were_asked_for() -> None:
    assert run_on_ray(threads_and_sum, [1, 2, 3], cpus=2, timeout_s=60) == ("2", 6)


def test_run_on_ray_serves_many_threads_in_other_processes_which_it_renews() -> None:
    with ThreadPoolExecutor(4) as threads:
        pids = list(threads.map(lambda _: run_on_ray(os.getpid, timeout_s=60), range(2 * CALLS_PER_PROCESS + 1)))
    assert os.getpid() not in pids
    assert max(pids.count(pid) for pid in pids) <= CALLS_PER_PROCESS


def test_run_on_ray_raises_the_functions_own_error_with_the_remote_traceback() -> None:
    with pytest.raises(TrainingDivergedError, match="loss is nan at step 7") as caught:
        run_on_ray(diverge, timeout_s=60)
    assert type(caught.value) is TrainingDivergedError
    assert (caught.value.step, caught.value.last_finite_loss) == (7, 0.5)
    assert "in diverge" in str(caught.value.__cause__)


def test_run_on_ray_asks_ray_to_cancel_nothing_when_the_function_itself_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray would abort this process if it were cancelled just before it reports its end."""
    cancelled: list[object] = []
    monkeypatch.setattr("infra.ray_pool.ray.cancel", lambda stream, force: cancelled.append(stream))
    with pytest.raises(TrainingDivergedError):
        run_on_ray(diverge, timeout_s=60)
    with pytest.raises(WorkerLostError):
        run_on_ray(die, timeout_s=60)
    assert cancelled == []


def test_run_on_ray_keeps_the_numbers_of_an_error() -> None:
    with pytest.raises(ParityError) as caught:
        run_on_ray(lose_parity, timeout_s=60)
    assert (caught.value.max_difference, caught.value.mean_difference) == (0.3, 0.1)


def test_run_on_ray_says_worker_lost_when_the_worker_is_killed() -> None:
    with pytest.raises(WorkerLostError, match="training of abc"):
        run_on_ray(die, timeout_s=60, name="training of abc")


def test_a_local_ray_whose_raylet_is_killed_is_started_anew(tmp_path: Path) -> None:
    """Calls under way are lost; the next try, as those of tasks come seconds later, has a Ray again."""
    before = run_on_ray(os.getppid, timeout_s=60)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(run_on_ray, stay, tmp_path / "pid", timeout_s=60)
        pid_in(tmp_path / "pid")
        os.kill(before, signal.SIGKILL)
        with pytest.raises(WorkerLostError):
            waiting.result()
    deadline = time.monotonic() + 120
    while True:
        try:
            assert run_on_ray(os.getppid, timeout_s=60) != before
            return
        except WorkerLostError:
            assert time.monotonic() < deadline
            time.sleep(1)


def test_run_on_ray_kills_the_worker_when_the_time_is_up(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match=r"stay: not finished after 3 s"):
        run_on_ray(stay, tmp_path / "pid", timeout_s=3)
    assert ends(pid_in(tmp_path / "pid"))


def test_run_on_ray_does_not_count_the_wait_for_a_free_cpu(tmp_path: Path) -> None:
    every_cpu = os.cpu_count() or 1
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(run_on_ray, time.sleep, 4, cpus=every_cpu, timeout_s=60)
        time.sleep(1)
        waiting = threads.submit(run_on_ray, time.sleep, 0, cpus=every_cpu, timeout_s=2)
        assert waiting.result(timeout=60) is None
        assert running.done()


def test_run_on_ray_refuses_when_no_node_is_large_enough() -> None:
    with pytest.raises(ResourcesUnavailableError, match="asked for 1 CPUs, 64 GPUs and 0 GB on one node"):
        run_on_ray(os.getpid, gpus=64, timeout_s=60)


def test_run_on_ray_refuses_memory_that_no_node_has() -> None:
    with pytest.raises(ResourcesUnavailableError, match=r"and 1e\+06 GB on one node, the Ray cluster has \d+ CPUs"):
        run_on_ray(os.getpid, memory_gb=1e6, timeout_s=60)
    assert run_on_ray(os.getpid, memory_gb=0.1, timeout_s=60) > 0


def test_run_on_ray_waits_for_a_node_where_the_cluster_scales(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = ray_pool.ray.nodes()
    small, answers = [{**one, "Resources": {"CPU": 0.5}} for one in nodes], iter(range(3))
    monkeypatch.setattr(ray_pool.ray, "nodes", lambda: small if next(answers, None) is not None else nodes)
    assert run_on_ray(time.time, scales=True, timeout_s=60) > 0
    assert caplog.text.count("has 0.5 CPUs, 0 GPUs and 0 GB; waiting for it to add a node") == 1


def test_run_on_ray_gives_every_call_with_a_gpu_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA would keep the first call's GPU. Ray believes what it is told of this machine's GPUs."""
    shutdown()
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 1}')
    try:
        assert run_on_ray(os.getpid, gpus=0.5, timeout_s=60) != run_on_ray(os.getpid, gpus=0.5, timeout_s=60)
    finally:
        shutdown()


def test_run_on_ray_says_that_no_cluster_answers() -> None:
    shutdown()
    for address in ("127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"):
        with pytest.raises(WorkerLostError, match="no cluster answers"):
            run_on_ray(os.getpid, timeout_s=60, address=address)


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (Exception("The current node timed out during startup"), WorkerLostError),  # as it is on a busy machine
        (PermissionError(13, "Permission denied", "/.ray"), SettingsError),
        (ValueError("object store memory"), SettingsError),
    ],
)
def test_a_ray_that_does_not_start_is_said_in_our_words(
    raised: Exception, wanted: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**settings: object) -> None:
        raise raised

    monkeypatch.setattr(ray_pool.ray, "init", refuse)
    with pytest.raises(wanted, match=rf"(?s)Ray at 'local'.*{raised.args[-1]}"):
        ray_pool._init(None)


def test_run_on_ray_refuses_when_connected_to_another_address() -> None:
    run_on_ray(os.getpid, timeout_s=60)
    with pytest.raises(SettingsError, match=r"127\.0\.0\.1:1"):
        run_on_ray(os.getpid, timeout_s=60, address="127.0.0.1:1")


def test_run_on_ray_refuses_when_the_workers_packages_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "_versions", lambda: {"numpy": "0.1"})
    with pytest.raises(SettingsError, match=r"numpy \S+ instead of 0\.1.*same wheel"):
        run_on_ray(os.getpid, timeout_s=60)

"""The few calls of Prefect's REST API that a single-machine run needs: what the UI does, without importing Prefect."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
import uuid
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from infra.errors import StackError

BEGUN = ("PENDING", "RUNNING", "CANCELLING")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
HEARTBEAT = "prefect.flow-run.heartbeat"
_OPEN = ("SCHEDULED", *BEGUN)
_TIMEOUT_S = 20.0
_BUSY = 503  # what Prefect answers while somebody else writes to its SQLite file
_BUSY_FOR_S = 60.0  # after which a busy server counts as one that refuses
_RETRY_AFTER_S = 0.5
_PAGE = 200
_DUE_WITHIN = timedelta(minutes=1)  # workers take runs some seconds before they are due


class PrefectApi:
    """A Prefect server; every method raises StackError when it does not answer or refuses.

    Args:
        url: of its API.
        secret: what it asks for, its `PREFECT_SERVER_API_AUTH_STRING`.
    """

    def __init__(self, url: str, secret: str) -> None:
        self.url = url
        self._authorization = f"Basic {b64encode(secret.encode()).decode()}"
        # A proxy of the environment would be asked for loopback addresses too.
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def is_healthy(self) -> bool:
        """The server answers that it is well."""
        try:
            return self._call("GET", "/health", patience_s=0.0) is True
        except StackError:
            return False

    def work_pools(self) -> list[str]:
        """Names of the work pools."""
        return [str(pool["name"]) for pool in self._call("POST", "/work_pools/filter", {})]

    def make_work_pool(self, name: str) -> None:
        """Makes a pool for workers of processes, whose first worker fills in the rest.

        Prefect's command line would have GitHub asked for all kinds of pools before.
        """
        self._call("POST", "/work_pools/", {"name": name, "type": "process"})

    def keep_work_queue(self, work_pool: str, name: str, limit: int, description: str) -> None:
        """Makes a queue of which so many runs run at a time; one that is there stays as somebody has set it."""
        found = self._call("POST", f"/work_pools/{work_pool}/queues/filter", {})
        if name not in [queue["name"] for queue in found]:
            queue = {"name": name, "concurrency_limit": limit, "description": description}
            self._call("POST", f"/work_pools/{work_pool}/queues", queue)

    def has_worker(self, work_pool: str, name: str) -> bool:
        """A worker of this name has told the server that it is there."""
        workers = self._call("POST", f"/work_pools/{work_pool}/workers/filter", {})
        return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in workers)

    def deployment_id(self, flow: str, name: str) -> str | None:
        """Id of a flow's deployment; None where there is none."""
        where = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        return next((str(one["id"]) for one in self._call("POST", "/deployments/filter", where)), None)

    def keep_automation(self, automation: dict[str, Any]) -> None:
        """Makes an automation, or changes the one of its name where it says something else; others of it are removed.

        One that somebody has disabled stays disabled.
        """
        where = {"automations": {"name": {"any_": [automation["name"]]}}}
        found = self._call("POST", "/automations/filter", where)
        for one in found[1:]:
            self._call("DELETE", f"/automations/{one['id']}")
        if not found:
            self._call("POST", "/automations/", automation)
        elif not _says(found[0], automation):
            self._call("PUT", f"/automations/{found[0]['id']}", {**automation, "enabled": found[0]["enabled"]})

    def remove_automation(self, name: str) -> None:
        """Removes the automations of a name."""
        for one in self._call("POST", "/automations/filter", {"automations": {"name": {"any_": [name]}}}):
            self._call("DELETE", f"/automations/{one['id']}")

    def keep_webhook(self, name: str, address: str) -> str:
        """Id of the block that holds the address of a webhook, which is told JSON; the server encrypts the address."""
        data = {"method": "POST", "url": address, "headers": {"Content-Type": "application/json"}}
        kind = self._call("GET", "/block_types/slug/webhook")
        found = self._webhooks(name)
        if found:
            self._call("PATCH", f"/block_documents/{found[0]['id']}", {"data": data})
            return str(found[0]["id"])
        where = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}, "limit": 1}  # the newest comes first
        (schema,) = self._call("POST", "/block_schemas/filter", where)
        body = {"name": name, "data": data, "block_type_id": kind["id"], "block_schema_id": schema["id"]}
        return str(self._call("POST", "/block_documents/", body)["id"])

    def remove_webhook(self, name: str) -> None:
        """Removes the block of a webhook, with its address."""
        for one in self._webhooks(name):
            self._call("DELETE", f"/block_documents/{one['id']}")

    def _webhooks(self, name: str) -> list[dict[str, Any]]:
        where = {"block_documents": {"name": {"any_": [name]}}, "block_types": {"slug": {"any_": ["webhook"]}}}
        return list(self._call("POST", "/block_documents/filter", where))

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Id of a new flow run of `flow/deployment`, due now."""
        found = self._call("GET", f"/deployments/name/{deployment}")
        # With the key a call that is made again starts no second run.
        body = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        return str(self._call("POST", f"/deployments/{found['id']}/create_flow_run", body)["id"])

    def start_again(self, run: Mapping[str, Any], tags: Sequence[str]) -> str:
        """Id of a new flow run that is asked what an ended one was asked; both have the tags then."""
        body = {
            "parameters": run["parameters"],
            "idempotency_key": f"again {run['id']}",
            "tags": tags,
            "name": f"{run['name']}-again",
        }
        started = self._call("POST", f"/deployments/{run['deployment_id']}/create_flow_run", body)
        self._call("PATCH", f"/flow_runs/{run['id']}", {"tags": tags})
        return str(started["id"])

    def latest_run(self, flow: str) -> str | None:
        """Id of the flow run that completed last; None when there is none."""
        where = {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
            "sort": "END_TIME_DESC",
            "limit": 1,
        }
        return next((str(run["id"]) for run in self._call("POST", "/flow_runs/filter", where)), None)

    def last_runs(self, count: int) -> list[dict[str, Any]]:
        """The flow runs that were due last, newest first, without those that other flow runs have started."""
        where = {
            "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
            "parent_task_run_id": {"is_null_": True},
        }
        body = {"flow_runs": where, "sort": "EXPECTED_START_TIME_DESC", "limit": count}
        return list(self._call("POST", "/flow_runs/filter", body))

    def run(self, run_id: str) -> dict[str, Any]:
        """A flow run: `expected_start_time`, `start_time`, `end_time`, `parent_task_run_id`, `state` and more."""
        return dict(self._call("GET", f"/flow_runs/{run_id}"))

    def state(self, run_id: str) -> dict[str, Any]:
        """State of a flow run: `type`, `name` and `message`."""
        return dict(self.run(run_id)["state"])

    def cancel(self, run_id: str) -> None:
        """Asks for the end of a flow run; its worker ends the process."""
        self._call("POST", f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})

    def end(self, run_id: str, state: str, message: str) -> None:
        """Sets a flow run to `CRASHED` or `CANCELLED` whatever state it is in, which frees its deployment's slot."""
        body = {"state": {"type": state, "message": message}, "force": True}
        self._call("POST", f"/flow_runs/{run_id}/set_state", body)

    def end_task_run(self, task_run_id: str, state: str, message: str) -> None:
        """Sets a task run to a state that is an end, whatever state it is in."""
        body = {"state": {"type": state, "message": message}, "force": True}
        self._call("POST", f"/task_runs/{task_run_id}/set_state", body)

    def was_heard(self, run_id: str, since: datetime) -> bool:
        """A heartbeat of a flow run has come since then."""
        where = {
            "occurred": {"since": since.isoformat()},
            "event": {"name": [HEARTBEAT]},
            "resource": {"id": [f"prefect.flow-run.{run_id}"]},
        }
        return bool(self._call("POST", "/events/filter", {"filter": where, "limit": 1})["events"])

    def runs(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        """The flow runs of these ids that Prefect knows."""
        return list(self._pages("/flow_runs/filter", {"flow_runs": {"id": {"any_": list(run_ids)}}}))

    def crashed_runs(self, since: datetime) -> list[dict[str, Any]]:
        """Flow runs of deployments that have ended `Crashed` since then."""
        where = {
            "state": {"type": {"any_": ["CRASHED"]}},
            "end_time": {"after_": since.isoformat()},
            "parent_task_run_id": {"is_null_": True},
            "deployment_id": {"is_null_": False},
        }
        return list(self._pages("/flow_runs/filter", {"flow_runs": where}))

    def runs_with_open_parts(self) -> set[str]:
        """Ids of flow runs below which a task run or a flow run is open, and which may have ended."""
        is_open = {"state": {"type": {"any_": list(_OPEN)}}}
        has_ended = {"state": {"type": {"any_": list(ENDED)}}}
        tasks = self._pages("/task_runs/filter", {"task_runs": is_open, "flow_runs": has_ended})
        subflows = self._pages(
            "/flow_runs/filter", {"flow_runs": {**is_open, "parent_task_run_id": {"is_null_": False}}}
        )
        parents = (self._call("GET", f"/task_runs/{run['parent_task_run_id']}") for run in subflows)
        return {str(task["flow_run_id"]) for task in (*tasks, *parents) if task["flow_run_id"]}

    def open_task_runs(self, run_id: str) -> list[dict[str, Any]]:
        """Task runs of a flow run that have not ended."""
        where = {"flow_run_id": {"any_": [run_id]}, "state": {"type": {"any_": list(_OPEN)}}}
        return list(self._pages("/task_runs/filter", {"task_runs": where}))

    def open_runs(self) -> list[dict[str, Any]]:
        """Flow runs that are due or have begun and have not ended, without those that other flow runs have started."""
        where = {
            "state": {"type": {"any_": list(_OPEN)}},
            "expected_start_time": {"before_": (datetime.now(UTC) + _DUE_WITHIN).isoformat()},
            "parent_task_run_id": {"is_null_": True},
        }
        return list(self._pages("/flow_runs/filter", {"flow_runs": where}))

    def begun_runs(self, work_queue: str | None = None) -> list[dict[str, Any]]:
        """Those of the open runs that have begun: all, or those of a work queue."""
        begun = [run for run in self.open_runs() if run["state"]["type"] in BEGUN]
        return [run for run in begun if work_queue in (None, run["work_queue_name"])]

    def subflow_runs(self, run_ids: Collection[str]) -> list[str]:
        """Ids of the flow runs that these flow runs have started."""
        return [str(run["id"]) for run in self._call("POST", "/flow_runs/filter", _children_of(run_ids))]

    def task_runs(self, run_ids: Collection[str]) -> Iterator[dict[str, Any]]:
        """Task runs of flow runs: `id`, `name`, `flow_run_id`, `start_time`, `end_time` and more."""
        return self._pages("/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": list(run_ids)}}})

    def under_way(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        """Task runs of flow runs that are running, without those that stand for flow runs."""
        where = {"flow_run_id": {"any_": list(run_ids)}, "state": {"type": {"any_": ["RUNNING"]}}}
        found = self._pages("/task_runs/filter", {"task_runs": where})
        children = self._call("POST", "/flow_runs/filter", _children_of(run_ids))
        flows = {run["parent_task_run_id"] for run in children}
        return [run for run in found if run["id"] not in flows]

    def progress(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        """Progress bars of flow runs: `task_run_id`, `data` in per cent and `description`."""
        where = {"flow_run_id": {"any_": list(run_ids)}, "type": {"any_": ["progress"]}}
        return list(self._pages("/artifacts/filter", {"artifacts": where}))

    def show_table(self, key: str, rows: Sequence[Mapping[str, str]], description: str) -> None:
        """Makes a table artifact that belongs to no run."""
        body = {"key": key, "type": "table", "data": json.dumps(rows), "description": description}
        self._call("POST", "/artifacts/", body)

    def timelines(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        """Tables of which computation was where (`tasks.timeline`): `flow_run_id` and `data`."""
        where = {"flow_run_id": {"any_": list(run_ids)}, "key": {"any_": ["timeline"]}}
        return list(self._pages("/artifacts/filter", {"artifacts": where}))

    def logs(self, run_ids: Collection[str], since: datetime) -> Iterator[dict[str, Any]]:
        """Log lines of flow runs, oldest first: `id`, `timestamp`, `level` and `message`."""
        where = {"flow_run_id": {"any_": list(run_ids)}, "timestamp": {"after_": since.isoformat()}}
        return self._pages("/logs/filter", {"logs": where, "sort": "TIMESTAMP_ASC"})

    def artifacts(self, run_ids: Collection[str]) -> list[dict[str, Any]]:
        """Artifacts of flow runs, oldest first: `key`, `type` and `data`; results without a key are left out."""
        where = {"artifacts": {"flow_run_id": {"any_": list(run_ids)}}, "sort": "ID_DESC", "limit": _PAGE}
        found = [one for one in self._call("POST", "/artifacts/filter", where) if one["key"]]
        return sorted(found, key=lambda one: str(one["created"]))

    def _pages(self, path: str, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for offset in range(0, 1 << 30, _PAGE):
            page = self._call("POST", path, {**where, "offset": offset, "limit": _PAGE})
            yield from page
            if len(page) < _PAGE:
                return

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, patience_s: float = _BUSY_FOR_S) -> Any:
        """The answer; a server that is busy, or silent for _TIMEOUT_S, is asked again for `patience_s` seconds.

        It may have done by then what it is asked again: a run has a key, and what is there already is refused.
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": self._authorization},
        )
        where = f"{method} {self.url}{path}"
        deadline = time.monotonic() + patience_s
        while True:
            try:
                with self._open(request, timeout=_TIMEOUT_S) as answer:
                    return None if answer.status == HTTPStatus.NO_CONTENT else json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    reason = error.read(4000).decode(errors="replace")
                if error.code != _BUSY or time.monotonic() >= deadline:
                    raise StackError(f"{where}: Prefect refuses ({error.code}): {reason}") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                if not isinstance(error, TimeoutError) or time.monotonic() >= deadline:
                    raise StackError(f"{where}: Prefect does not answer: {error}") from error
            time.sleep(_RETRY_AFTER_S)


def _children_of(run_ids: Collection[str]) -> dict[str, Any]:
    """Filter of the flow runs that these flow runs have started."""
    return {"flow_runs": {"parent_flow_run_id": {"any_": list(run_ids)}}, "limit": _PAGE}


def _says(found: object, wanted: object) -> bool:
    """All of `wanted` stands in `found`, which may say more: the server adds ids and defaults."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and _says(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(_says, found, wanted))
    return found == wanted

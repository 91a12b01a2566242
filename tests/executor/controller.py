"""The workflow controller: runs Workflow objects that have no phase yet, and writes what became.

One run is a walk through its templates, `run.py`; here stands what concerns many of them.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from tests.executor.api import Api
from tests.executor.pods import Machine
from tests.executor.run import Run

__all__ = ["Controller"]

_PLURAL: Final = "workflows"
_LOOKS: Final = 0.2
"""Seconds between two looks at the server for workflows."""


class Controller:
    """Runs what is on the server, on one machine."""

    def __init__(
        self,
        api: Api,
        machine: Machine,
        *,
        pause: Callable[[float], None] | None = None,
        pending: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take `pause`, which waits between the attempts of a step; if not given, nobody waits.

        `pending` says whether something is under way that will make a workflow.
        """
        self._api = api
        self._machine = machine
        self._pause = pause or (lambda _: None)
        self._pending = pending
        self._seen: list[str] = []

    def settle(self) -> None:
        """Run every workflow that is there, and those that they bring about, to their ends."""
        with ThreadPoolExecutor(16) as pool:
            running: list[Future[None]] = []
            while True:
                pending = self._pending()  # asked before the look, which finds what came of it
                running = [one for one in running if not one.done() or one.result()]
                running += [pool.submit(self._run, one) for one in self._new()]
                if not running and not pending:
                    return
                time.sleep(_LOOKS)

    def workflows(self, template: str) -> list[dict[str, Any]]:
        """The workflows of a template, in the order in which they were taken up."""
        found = [
            one
            for one in self._api.list(_PLURAL)
            if one["spec"]["workflowTemplateRef"]["name"] == template
        ]
        order = {uid: number for number, uid in enumerate(self._seen)}
        return sorted(found, key=lambda one: order.get(one["metadata"]["uid"], len(order)))

    def retry(self, name: str) -> None:
        """What `argo retry` does: what did not succeed runs again, in the same run."""
        [workflow] = [one for one in self._api.list(_PLURAL) if one["metadata"]["name"] == name]
        self._run(workflow)

    def submit_cron(self, name: str) -> str:
        """Do what the minute of a CronWorkflow does; the name of the workflow that came of it."""
        [cron] = [one for one in self._api.list("cronworkflows") if one["metadata"]["name"] == name]
        moment = int(time.time()) // 60 * 60
        scheduled = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
        metadata = {
            "name": f"{name}-{moment}-{len(self._seen)}",
            "labels": {"workflows.argoproj.io/cron-workflow": name},
            "annotations": {"workflows.argoproj.io/scheduled-time": scheduled},
        }
        return self._submit(cron["metadata"]["namespace"], metadata, cron["spec"]["workflowSpec"])

    def submit(self, template: str, parameters: Mapping[str, str] | None = None) -> str:
        """Do what `argo submit --from workflowtemplate/NAME` does; the name of the workflow."""
        [found] = [
            one
            for one in self._api.list("workflowtemplates")
            if one["metadata"]["name"] == template
        ]
        given = [{"name": name, "value": value} for name, value in (parameters or {}).items()]
        spec = {"workflowTemplateRef": {"name": template}, "arguments": {"parameters": given}}
        return self._submit(found["metadata"]["namespace"], {"generateName": f"{template}-"}, spec)

    def _submit(self, namespace: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {**metadata, "namespace": namespace},
            "spec": spec,
        }
        return str(self._api.create(_PLURAL, namespace, body)["metadata"]["name"])

    def _new(self) -> list[dict[str, Any]]:
        found = [
            one
            for one in self._api.list(_PLURAL)
            if not one.get("status", {}).get("phase") and one["metadata"]["uid"] not in self._seen
        ]
        self._seen += [one["metadata"]["uid"] for one in found]
        return found

    def _run(self, workflow: dict[str, Any]) -> None:
        metadata = workflow["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        template = self._api.get(
            "workflowtemplates", namespace, workflow["spec"]["workflowTemplateRef"]["name"]
        )
        writing = threading.Lock()

        def write(change: Mapping[str, Any]) -> None:
            with writing:
                self._api.patch(_PLURAL, namespace, name, change)

        Run(workflow, template).go(self._machine, write, self._pause)

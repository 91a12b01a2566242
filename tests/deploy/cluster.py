"""A Kubernetes cluster with Argo's resources, on 127.0.0.1: kmock's emulator in a thread.

kmock leaves to its users what a deployment lives on: versions of objects and conflicts between
them, PUT that replaces, pages of a listing, and the question who may do what. That stands here.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp.web
from kmock import (
    KubernetesEmulator,
    KubernetesError,
    KubernetesObjectNotFoundError,
    Request,
    Server,
    action,
    method,
)

NAMESPACE: Final = "flows"
EVENTS: Final = "events"
SECONDS: Final = 60.0
"""How long something is awaited that comes at once if all is well."""

_GROUP: Final = "argoproj.io/v1alpha1"
_KINDS: Final = {
    "workflowtemplates": "WorkflowTemplate",
    "cronworkflows": "CronWorkflow",
    "sensors": "Sensor",
}
_METADATA_LIST: Final = "as=PartialObjectMetadataList"
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

Objection = Callable[[Request], int]
"""The status that a request fails with; 0 lets it pass."""


class Turnstile:
    """Holds the nth write until it is released, so that others get between two requests."""

    def __init__(self, number: int) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self._left = number

    async def pass_through(self, request: Request) -> None:
        if request.method == method.GET:
            return
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            await asyncio.to_thread(self.released.wait, SECONDS)


class Emulator(KubernetesEmulator):
    """The API server; `objection` makes requests fail, `denied` is what the user may not do."""

    objection: Objection = staticmethod(lambda _: 0)
    turnstile: "Turnstile | None" = None
    denied: frozenset[tuple[str, str]] = frozenset()
    """Pairs of verb and plural."""

    def start(self) -> None:
        self.versions = itertools.count(1)
        for plural, kind in _KINDS.items():
            self.resources[f"{_GROUP}/{plural}"].kind = kind

    async def _handle(self, request: Request) -> aiohttp.web.StreamResponse:
        if self.turnstile:
            await self.turnstile.pass_through(request)
        if status := self.objection(request):
            raise KubernetesError(status=status, reason="Faulty", message="the API is out of order")
        if request.url.path == _REVIEWS:
            return self._review(request.data)
        if request.method == method.PUT:
            return await self._replace(request)
        if request.action == action.CREATE:
            self._prepare(request.data["metadata"], request)
        return await super()._handle(request)

    async def _replace(self, request: Request) -> aiohttp.web.Response:
        key = (request.resource, request.namespace, request.name)
        async with self._lock:
            if key not in self._objects or self._objects[key].deleted:
                raise KubernetesObjectNotFoundError
            known = self._objects[key].raw["metadata"]
            metadata = request.data["metadata"]
            self._refuse_stale(known, metadata)
            self._prepare(metadata, request)
            metadata["uid"] = known["uid"]
            self._objects[key].create(request.data)
        return aiohttp.web.json_response(request.data)

    def _prepare(self, metadata: dict[str, Any], request: Request) -> None:
        """Add the facts that a server knows of what it keeps."""
        number = next(self.versions)
        metadata |= {
            "uid": f"uid-{number}",
            "resourceVersion": str(number),
            "generation": number,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "OpenAPI-Generator", "time": str(number)}],
            "namespace": request.namespace,
        }

    def _refuse_stale(self, known: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        if "resourceVersion" not in metadata:
            raise KubernetesError(
                status=422,
                reason="Invalid",
                message="metadata.resourceVersion: must be specified for an update",
            )
        if metadata["resourceVersion"] != known["resourceVersion"]:
            raise KubernetesError(
                status=409,
                reason="Conflict",
                message="the object has been modified; please apply your changes to the latest",
            )

    def _review(self, review: Mapping[str, Any]) -> aiohttp.web.Response:
        asked = review["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in self.denied
        return aiohttp.web.json_response({**review, "status": {"allowed": allowed}}, status=201)

    async def _serve_list(self, request: Request) -> Any:
        listed = await super()._serve_list(request)
        start = int(request.params.get("continue", 0))
        end = start + int(request.params.get("limit", 1_000_000))
        rest = str(end) if end < len(listed["items"]) else ""
        items: list[Any] | None = listed["items"][start:end]
        if _METADATA_LIST in request.headers.get("Accept", ""):
            # The real server has no empty list of metadata, but none (Kubernetes 1.36.3).
            items = [{"metadata": item["metadata"]} for item in items or []] or None
        return {"metadata": {"continue": rest}, "items": items}


class Cluster:
    """A running cluster: what is on it, and how to reach it."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig.json"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self.api = Emulator()
        self.api.start()
        async with self.api, Server(self.api) as server:
            self.url = str(server.url).rstrip("/")
            self.kubeconfig.write_text(_kubeconfig(self.url))
            self._ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        """End it; a cluster that is stopped stays so."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS)

    @property
    def environment(self) -> dict[str, str]:
        """What makes Metaflow deploy here."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "METAFLOW_KUBERNETES_NAMESPACE": NAMESPACE,
            "METAFLOW_ARGO_EVENTS_SENSOR_NAMESPACE": EVENTS,
            "METAFLOW_ARGO_EVENTS_EVENT": "metaflow-event",
            "METAFLOW_ARGO_EVENTS_EVENT_SOURCE": "metaflow-webhook",
            "METAFLOW_ARGO_EVENTS_EVENT_BUS": "default",
            "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT": "operate-workflow-sa",
            "METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES": "true",  # what Argo Workflows 4 wants
            "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": "http://argo-events.example/metaflow-event",
        }

    def objects(self, plural: str) -> dict[str, dict[str, Any]]:
        """Name → object, of all that are there."""
        return {
            name: item.raw
            for (resource, _, name), item in self.api.objects.items()
            if resource.plural == plural and not item.deleted
        }

    @property
    def names(self) -> dict[str, set[str]]:
        """Kind → names of all objects that are there; kinds without any are left out."""
        found = {plural: set(self.objects(plural)) for plural in _KINDS}
        return {plural: names for plural, names in found.items() if names}

    def put(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        """Something that somebody else has deployed."""
        metadata = {"name": name, "namespace": NAMESPACE, "annotations": dict(annotations)}
        key = (f"{_GROUP}/{plural}", NAMESPACE, name)
        self.api.objects[key] = {"metadata": {**metadata, "resourceVersion": "1"}, "spec": {}}

    def writes(self) -> list[str]:
        """The requests that changed something, or tried to, since the last time this was asked."""
        told = [
            f"{request.method.value} {request.url.path}"
            for request in self.api._requests[self._seen :]
            if request.method.value.lower() != "get" and request.url.path != _REVIEWS
        ]
        self._seen = len(self.api._requests)
        return told

    _seen = 0


def _kubeconfig(url: str) -> str:
    import json

    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": url}}],
            "users": [{"name": "tester", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "tester"}}],
            "current-context": "here",
        }
    )

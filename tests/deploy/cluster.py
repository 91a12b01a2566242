"""What the tests deploy to: an API server with Argo's definitions, on 127.0.0.1.

`Cluster` is what the tests ask for. `EmulatedCluster` is kmock's HTTP with an API server's rules,
in a thread; tests/argo has the real one. What the emulator answers is what the real one answered
(2026-11-30): every test of tests/deploy runs on both.
"""

import asyncio
import copy
import itertools
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp.web
from kmock import KubernetesScaffold, Request, Server

__all__ = ["EVENTS", "NAMESPACE", "SECONDS", "Cluster", "EmulatedCluster", "Fault", "Hold"]

NAMESPACE: Final = "flows"
EVENTS: Final = "events"
SECONDS: Final = 60.0
"""How long something is awaited that comes at once if all is well."""

NEWEST: Final = "4.1"
"""The version of Argo Workflows whose definitions a cluster has unless a test says otherwise."""

GROUP: Final = "argoproj.io"
VERSION: Final = "v1alpha1"
_KINDS: Final = {
    "workflowtemplates": "WorkflowTemplate",
    "cronworkflows": "CronWorkflow",
    "sensors": "Sensor",
    "workflows": "Workflow",
}
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Requests that the API answers with an error; access reviews and dry runs are answered."""

    status: int
    methods: Sequence[str] = ("POST", "PUT", "DELETE")
    name: str = ""
    """The object that the request is about; empty for any."""

    plurals: Sequence[str] = ("workflowtemplates", "cronworkflows", "sensors")
    number: int = 0
    """Of the requests that match only this one, counted from 1; 0 for all."""

    dry_run: bool = False
    """Whether it is dry runs that fail, and only those."""


class Hold(ABC):
    """Lets a write wait before it is done, so that others get between two requests."""

    @abstractmethod
    def wait(self) -> bool:
        """Wait until the write has come; whether it has."""

    @abstractmethod
    def release(self) -> None:
        """Let it go on."""


class Cluster(ABC):
    """A running cluster: what is on it, how to reach it, and how to disturb it."""

    url: str
    kubeconfig: Path
    webhook: str
    argo: str
    """The version of Argo Workflows whose definitions are installed."""

    @abstractmethod
    def stop(self) -> None:
        """End it; a cluster that is stopped stays so."""

    @abstractmethod
    def objects(self, plural: str) -> dict[str, dict[str, Any]]:
        """Name → object, of all that are there."""

    @abstractmethod
    def put(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        """Something that somebody else has deployed."""

    @abstractmethod
    def annotate(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        """Add annotations to an object, as anybody may."""

    @abstractmethod
    def writes(self) -> list[str]:
        """The requests that changed something, or tried to, since the last time this was asked."""

    @abstractmethod
    def fail(self, fault: Fault | None) -> None:
        """Answer such requests with an error from now on; None ends it."""

    @abstractmethod
    def deny(self, *pairs: tuple[str, str]) -> None:
        """Forbid the user these pairs of verb and plural, and nothing else."""

    @abstractmethod
    def hold(self, number: int) -> Hold:
        """Let the nth write from now on wait."""

    @abstractmethod
    def away(self) -> Any:
        """While in it, a context in which the API server can't be reached."""

    def pending(self) -> bool:
        """Whether the bus has taken events that no Sensor has done with yet."""
        return False

    @property
    def names(self) -> dict[str, set[str]]:
        """Kind → names of all objects that are there; kinds without any are left out."""
        found = {plural: set(self.objects(plural)) for plural in _KINDS}
        return {plural: names for plural, names in found.items() if names}

    @property
    def environment(self) -> dict[str, str]:
        """What makes Metaflow deploy here."""
        schedules = self.argo.startswith("4.")
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "METAFLOW_KUBERNETES_NAMESPACE": NAMESPACE,
            "METAFLOW_ARGO_EVENTS_SENSOR_NAMESPACE": EVENTS,
            "METAFLOW_ARGO_EVENTS_EVENT": "metaflow-event",
            "METAFLOW_ARGO_EVENTS_EVENT_SOURCE": "metaflow-webhook",
            "METAFLOW_ARGO_EVENTS_EVENT_BUS": "default",
            "METAFLOW_ARGO_EVENTS_SERVICE_ACCOUNT": "operate-workflow-sa",
            "METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES": "true" if schedules else "",
            "METAFLOW_ARGO_EVENTS_WEBHOOK_URL": self.webhook,
        }


class EmulatedCluster(Cluster):
    """kmock's emulator in a thread: no bus, no controllers, ready at once."""

    webhook = "http://argo-events.example/metaflow-event"

    def __init__(self, folder: Path, argo: str = NEWEST) -> None:
        self.argo = argo
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
        self._api = _ApiServer()
        self._api.start(self.argo)
        async with self._api, Server(self._api) as server:
            self.url = str(server.url).rstrip("/")
            self.kubeconfig.write_text(kubeconfig(self.url))
            self._ready.set()
            await self._stop.wait()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(SECONDS)

    def objects(self, plural: str) -> dict[str, dict[str, Any]]:
        return {name: one for (kind, _, name), one in [*self._api.there.items()] if kind == plural}

    def put(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        body = written(plural, name, NAMESPACE, annotations)
        self._api.there[plural, NAMESPACE, name] = self._api.new(body)

    def annotate(self, plural: str, name: str, annotations: Mapping[str, str]) -> None:
        self.objects(plural)[name]["metadata"]["annotations"] |= annotations

    def put_event_bus(self, spec: Mapping[str, Any] | None) -> None:
        """The event bus `default`, where the Sensors are; None: there is none."""
        bus = None if spec is None else {"metadata": {"name": "default"}, "spec": dict(spec)}
        self._api.event_bus = bus

    def say_of_sensors(self, *conditions: Mapping[str, str]) -> None:
        """What a controller writes on every Sensor from now on; nothing: there is none."""
        self._api.conditions = conditions

    def writes(self) -> list[str]:
        told, self._api.writes = self._api.writes, []
        return told

    def fail(self, fault: Fault | None) -> None:
        self._api.fault, self._api.matched = fault, 0

    def deny(self, *pairs: tuple[str, str]) -> None:
        self._api.denied = frozenset(pairs)

    def hold(self, number: int) -> Hold:
        self._api.turnstile = turnstile = _Turnstile(number)
        return turnstile

    @contextmanager
    def away(self) -> Iterator[None]:
        self._api.away = True
        try:
            yield
        finally:
            self._api.away = False


class _Turnstile(Hold):
    def __init__(self, number: int) -> None:
        self._reached = threading.Event()
        self._released = threading.Event()
        self._left = number

    async def pass_through(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._reached.set()
            await asyncio.to_thread(self._released.wait, SECONDS)

    def wait(self) -> bool:
        return self._reached.wait(SECONDS)

    def release(self) -> None:
        self._released.set()


class _RefusedError(Exception):
    """An error as an API server says it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def render(self) -> aiohttp.web.Response:
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.status,
        }
        headers = {"Retry-After": "1"} if self.status == 429 else None
        return aiohttp.web.json_response(body, status=self.status, headers=headers)


_REASONS: Final = {
    403: "Forbidden",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}

_BUS: Final = {"jetstream": {"version": "latest"}}
_VERSION_INFO: Final = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3",
    "gitCommit": "0",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.26",
    "compiler": "gc",
    "platform": "linux/amd64",
}

_Key = tuple[str, str, str]
"""Plural, namespace and name."""


class _ApiServer(KubernetesScaffold):
    """An API server's answers about custom resources. kmock parses the requests."""

    def start(self, argo: str) -> None:
        self.there: dict[_Key, dict[str, Any]] = {}
        self.writes: list[str] = []
        self.fault: Fault | None = None
        self.matched = 0
        self.denied: frozenset[tuple[str, str]] = frozenset()
        self.turnstile: _Turnstile | None = None
        self.away = False
        self.event_bus: dict[str, Any] | None = {"metadata": {"name": "default"}, "spec": _BUS}
        self.conditions: Sequence[Mapping[str, str]] = [
            {"type": kind, "status": "True"}
            for kind in ("DependenciesProvided", "Deployed", "TriggersProvided")
        ]
        self._argo = argo
        self._numbers = itertools.count(1)

    async def _handle(self, request: Request) -> aiohttp.web.StreamResponse:
        if self.away:
            raw = request._raw_request  # kmock itself has no way to hang up
            transport = raw and raw.transport
            assert transport
            transport.abort()
            return aiohttp.web.Response()
        if request.url.path == _REVIEWS:
            return self._review(request.data)
        if request.url.path == "/version/":
            return _json(_VERSION_INFO)
        if self.event_bus and request.url.path.endswith("/eventbus/default"):
            return _json(self.event_bus)
        try:
            await self._disturb(request)
            return self._answer(request)
        except _RefusedError as answer:
            return answer.render()

    async def _disturb(self, request: Request) -> None:
        method, dry_run = request.method.value.upper(), "dryRun" in request.params
        if method != "GET" and not dry_run:
            self.writes.append(f"{method.lower()} {request.url.path}")
            if self.turnstile:
                await self.turnstile.pass_through()
        fault = self.fault
        plural = request.resource and request.resource.plural
        asked = fault and method in fault.methods and plural in fault.plurals
        if fault and asked and fault.dry_run == dry_run:
            named = request.name or ((request.data or {}).get("metadata") or {}).get("name", "")
            if fault.name in ("", named):
                self.matched += 1
                if fault.number in (0, self.matched):
                    reason = _REASONS.get(fault.status, "Unknown")
                    raise _RefusedError(fault.status, reason, "the API is out of order")

    def _answer(self, request: Request) -> aiohttp.web.Response:
        plural = (request.resource and request.resource.plural) or ""
        if plural not in _KINDS:
            told = "the server could not find the requested resource"
            raise _RefusedError(404, "NotFound", told)
        method, name, namespace = (
            request.method.value.upper(),
            request.name or "",
            request.namespace or "",
        )
        verb = _VERBS.get(method) or ("get" if name else "list")
        if (verb, plural) in self.denied:
            user = f'User "tester" cannot {verb} resource "{plural}" in API group "{GROUP}"'
            where = f'in the namespace "{namespace}"'
            raise _RefusedError(
                403, "Forbidden", f"{_named(plural, name)} is forbidden: {user} {where}"
            )
        if verb == "list":
            return _json(self._list(request, plural, namespace))
        dry_run = request.params.get("dryRun") == "All"
        if verb == "create":
            return _json(self._create(request, plural, namespace, dry_run=dry_run), 201)
        known = self.there.get((plural, namespace, name))
        if known is None:
            raise _RefusedError(404, "NotFound", f"{_named(plural, name)} not found")
        if verb == "update":
            return _json(self._replace(request, plural, namespace, known, dry_run=dry_run))
        if verb == "patch":
            self.there[plural, namespace, name] = self._changed(
                known, _merged(known, request.data), plural
            )
            return _json(self.there[plural, namespace, name])
        if verb == "delete":
            if not dry_run:
                del self.there[plural, namespace, name]
            details = {
                "name": name,
                "group": GROUP,
                "kind": plural,
                "uid": known["metadata"]["uid"],
            }
            status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            return _json({**status, "details": details})
        return _json(known)

    def _create(
        self, request: Request, plural: str, namespace: str, *, dry_run: bool
    ) -> dict[str, Any]:
        metadata = (request.data or {}).get("metadata") or {}
        if "generateName" in metadata and not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName']}{next(self._numbers):05x}"
        body = self._accepted(request, plural, namespace)
        key = (plural, namespace, str(body["metadata"]["name"]))
        if key in self.there:
            raise _RefusedError(409, "AlreadyExists", f"{_named(plural, key[2])} already exists")
        made = self.new(body)
        if not dry_run:
            self.there[key] = made
        return made

    def _replace(
        self,
        request: Request,
        plural: str,
        namespace: str,
        known: Mapping[str, Any],
        *,
        dry_run: bool,
    ) -> dict[str, Any]:
        body = self._accepted(request, plural, namespace)
        name = str(body["metadata"]["name"])
        if name != request.name:
            told = f"the name of the object ({name}) does not match the name on the URL"
            raise _RefusedError(400, "BadRequest", f"{told} ({request.name})")
        version = body["metadata"].get("resourceVersion")
        if not version:
            why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
            raise _invalid(plural, name, why)
        if version != known["metadata"]["resourceVersion"]:
            why = "the object has been modified; please apply your changes to the latest version"
            told = f"Operation cannot be fulfilled on {_named(plural, name)}: {why} and try again"
            raise _RefusedError(409, "Conflict", told)
        made = self._changed(known, body, plural)
        if not dry_run:
            self.there[plural, namespace, name] = made
        return made

    def new(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """An object as the server keeps it, with what only the server says of it."""
        number = next(self._numbers)
        metadata = {
            **body["metadata"],
            "uid": f"uid-{number}",
            "resourceVersion": str(number),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"manager": "OpenAPI-Generator", "time": str(number)}],
        }
        return {**copy.deepcopy(dict(body)), **self._status(body), "metadata": metadata}

    def _status(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the controller of Argo Events writes on a Sensor: at once, and anew each time."""
        if body["kind"] != "Sensor" or not self.conditions:
            return {}
        when = f"2026-01-01T00:00:00Z#{next(self._numbers)}"
        told = [{**one, "lastTransitionTime": when} for one in self.conditions]
        return {"status": {"conditions": told}}

    def _changed(
        self, known: Mapping[str, Any], body: Mapping[str, Any], plural: str
    ) -> dict[str, Any]:
        """What becomes of the object; one that stays what it was keeps its version."""
        made = copy.deepcopy(dict(body))
        if plural == "sensors":  # the only one whose status is written apart
            made.pop("status", None)
            made |= {"status": known["status"]} if "status" in known else {}
            if made["spec"] != known["spec"]:
                made |= self._status(made)
        kept = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
        made["metadata"] |= {key: known["metadata"][key] for key in kept}
        if made == known:
            return made
        made["metadata"]["resourceVersion"] = str(next(self._numbers))
        rest = [{**one, "metadata": None, "status": None} for one in (made, known)]
        made["metadata"]["generation"] += rest[0] != rest[1]
        return made

    def _accepted(self, request: Request, plural: str, namespace: str) -> dict[str, Any]:
        """The object that was sent, if its definition allows it."""
        body = request.data
        if not isinstance(body, dict) or not body.get("kind") or not body.get("apiVersion"):
            missing = "apiVersion" if isinstance(body, dict) and body.get("kind") else "Kind"
            told = f"Object '{missing}' is missing in '{request.text}'"
            raise _RefusedError(400, "BadRequest", told)
        kind = f"{GROUP}/{VERSION}, Kind={_KINDS[plural]}"
        if (sent := f"{body['apiVersion']}, Kind={body['kind']}") != kind:
            told = f"{sent} in body doesn't match the expected {kind}"
            raise _RefusedError(400, "BadRequest", told)
        metadata = body.setdefault("metadata", {})
        if metadata.setdefault("namespace", namespace) != namespace:
            told = "the namespace of the provided object does not match the namespace sent"
            raise _RefusedError(400, "BadRequest", f"{told} on the request")
        name = metadata.get("name", "")
        if faults := [*_faults(plural, self._argo, body)]:
            raise _invalid(plural, name, *faults)
        if plural == "cronworkflows" and (known := _FIELDS.get(self._argo)):
            # What a definition does not know is not kept, and nobody is told.
            body["spec"] = {key: item for key, item in body["spec"].items() if key in known}
        return body

    def _list(self, request: Request, plural: str, namespace: str) -> dict[str, Any]:
        found = [
            one
            for (kind, place, _), one in sorted(self.there.items())
            if kind == plural and namespace in ("", place)
        ]
        start = int(request.params.get("continue") or 0)
        end = start + int(request.params.get("limit") or 1_000_000)
        metadata: dict[str, Any] = {"resourceVersion": str(next(self._numbers))}
        if end < len(found):
            metadata |= {"continue": str(end), "remainingItemCount": len(found) - end}
        page = found[start:end]
        if "as=PartialObjectMetadataList" in request.headers.get("Accept", ""):
            kind = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            partial = [{**kind, "metadata": one["metadata"]} for one in page]
            listed = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
            # Go writes a list that nothing was put into as null.
            return {**listed, "metadata": metadata, "items": partial or None}
        listed = {"kind": f"{_KINDS[plural]}List", "apiVersion": f"{GROUP}/{VERSION}"}
        return {**listed, "metadata": metadata, "items": page}

    def _review(self, review: Mapping[str, Any]) -> aiohttp.web.Response:
        asked = review["spec"]["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in self.denied
        kind = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        return _json({**kind, **review, "metadata": {}, "status": {"allowed": allowed}}, 201)


def _json(body: Mapping[str, Any], status: int = 200) -> aiohttp.web.Response:
    return aiohttp.web.json_response(body, status=status)


def _merged(known: Any, change: Any) -> Any:
    """What a merge patch makes of a value: null removes a key."""
    if not isinstance(change, dict):
        return change
    made = dict(known) if isinstance(known, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), value)
    return made


def _named(plural: str, name: str) -> str:
    return f'{plural}.{GROUP} "{name}"'


def _invalid(plural: str, name: str, *faults: str) -> _RefusedError:
    told = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    return _RefusedError(422, "Invalid", f'{_KINDS[plural]}.{GROUP} "{name}" is invalid: {told}')


_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SCHEDULE: Final = re.compile(r"\s*(@[a-z]+(\s+\S+)?|[^\s=]+(\s+[^\s=]+){4})\s*")
"""As the definition of Argo 4.1 has it: five fields, or a name; no time zone before them."""


_ALWAYS: Final = {
    "concurrencyPolicy",
    "failedJobsHistoryLimit",
    "startingDeadlineSeconds",
    "successfulJobsHistoryLimit",
    "suspend",
    "timezone",
    "workflowSpec",
}
_FIELDS: Final = {
    "3.5": _ALWAYS | {"schedule"},
    "3.7": _ALWAYS | {"schedule", "schedules"},
    NEWEST: _ALWAYS | {"schedules"},
}
"""Version of Argo Workflows → what its definition of a CronWorkflow knows. Any other version is a
cluster with the minimal definitions, which state no fields and keep all."""


def _faults(plural: str, argo: str, body: Mapping[str, Any]) -> Iterator[str]:
    """What Argo's definitions, or any server, refuse about an object."""
    name = body["metadata"].get("name", "")
    if not name:
        yield "metadata.name: Required value: name or generateName is required"
    elif not _SUBDOMAIN.fullmatch(name) or len(name) > 253:
        yield f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain is needed'
    spec = body.get("spec")
    if spec is None:
        yield "spec: Required value"
    elif not isinstance(spec, dict):
        yield f'spec: Invalid value: "{type(spec).__name__}": spec in body must be of type object'
    elif argo == "3.5" and plural == "cronworkflows" and "schedule" not in spec:
        yield "spec.schedule: Required value"
    elif argo == NEWEST and plural == "cronworkflows":
        yield from _faults_of_cron(spec)


def _faults_of_cron(spec: Mapping[str, Any]) -> Iterator[str]:
    for key in ("schedules", "workflowSpec"):
        if key not in spec:
            yield f"spec.{key}: Required value"
    for index, text in enumerate(spec.get("schedules") or ()):
        if not _SCHEDULE.fullmatch(text):
            where = f"spec.schedules[{index}]"
            yield f'{where}: Invalid value: "{text}": {where} in body should match'


def written(
    plural: str, name: str, namespace: str, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """An object with nothing in it but what every version of Argo demands."""
    times = {"schedule": "0 0 * * *", "schedules": ["0 0 * * *"], "workflowSpec": {}}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": _KINDS[plural],
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations)},
        "spec": times if plural == "cronworkflows" else {},
    }


def kubeconfig(url: str) -> str:
    """The text of a file that names the cluster and nobody in particular."""
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

"""Pods as processes: each in an empty folder, with its own interpreter and environment only.

Where the kernel allows it (mount namespaces, as root or as any user), a pod has /tmp, /mnt/out and
its working folder to itself, and its command runs as it stands. Elsewhere the two absolute paths
that Metaflow writes are mapped: /tmp/mf-input-paths in the command, /mnt/out in Python's `open`.

A pod has about nine Python processes, and nearly all that they do is to import. So they start warm
(`tests/warm.py`) in pods that have mounts of their own.
"""

import itertools
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.executor.images import Images
from tests.executor.templating import expand
from tests.warm import pods_python

__all__ = ["Ended", "Machine", "NotStartedError", "Pod", "command", "variables"]

_INPUTS: Final = "/tmp/mf-input-paths"  # noqa: S108  # Metaflow's own name for it
_ENVIRONMENT: Final = Path("mnt/environment")
_METAFLOW: Final = Path("mnt/work/metaflow/.mf_code/metaflow")
_LOG_BYTES: Final = 2048
"""So much of a log's end is the message of a failed container, in a cluster."""

_OVERDUE: Final = -1

# $1: the pod's folder; then pairs of what else it sees below /tmp and where, up to `--`.
_INSIDE: Final = """
set -e
pod=$1; shift
while [ "$1" != -- ]; do mkdir -p "$pod/tmp/$2"; mount --bind "$1" "$pod/tmp/$2"; shift 2; done
shift
mount -t tmpfs pod /mnt
for part in work out environment; do
  mkdir "/mnt/$part"; mount --bind "$pod/$part" "/mnt/$part"
done
mount --rbind "$pod/tmp" /tmp
cd /mnt/work
exec "$@"
"""


class NotStartedError(Exception):
    """The pod never starts: a kubelet would try for ever."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What is to be run."""

    name: str
    namespace: str
    uid: str
    container: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    seconds: float | None = None
    """How long it may run."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What became of a pod."""

    code: int
    log: str
    """The end of what it wrote."""
    out: Path
    overdue: bool = False

    def output(self, path: str) -> str | None:
        """The text of a file that the pod wrote below /mnt/out, without a last line break."""
        file = self.out / Path(path).relative_to("/mnt/out")
        return file.read_text("utf-8").removesuffix("\n") if file.is_file() else None


class Machine:
    """A node of a cluster: runs a few pods at once; `environment` is what its cloud gives them."""

    def __init__(
        self,
        folder: Path,
        images: Images,
        *,
        environment: Mapping[str, str],
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        visible: Iterable[Path] = (),
        compiled: Path | None = None,
        slots: int = 2,
        isolated: bool | None = None,
    ) -> None:
        """Take `visible`: folders below /tmp that pods see; and `compiled`: what Python keeps."""
        self.logs: dict[str, Path] = {}
        self._folder = folder
        self._compiled = compiled or folder / "compiled"
        self._images = images
        self._environment = environment
        self._secrets = secrets or {}
        self._slots = threading.Semaphore(slots)
        self._numbers = itertools.count(1)
        self._unshare = _namespace() if isolated is None or isolated else []
        shared = [folder, self._compiled, *images.needed, *visible]
        self._python: str | None = None
        if self._unshare and (found := pods_python("/mnt/environment")):
            self._python, socket_folder = found
            shared.append(socket_folder)
        self._visible = [path for path in shared if path.is_relative_to("/tmp")]  # noqa: S108

    @property
    def isolates(self) -> bool:
        """Whether its pods have mounts of their own."""
        return bool(self._unshare)

    def run(self, pod: Pod) -> Ended:
        """Run it to its end. Raises `NotStartedError`."""
        container = pod.container
        if container["image"] not in self._images:
            raise NotStartedError(f"ImagePullBackOff: no image {container['image']!r}")
        environment = variables(pod, self._secrets)
        with self._slots:
            return self._start(pod, command(pod, environment), environment)

    def log(self, name: str) -> str:
        """All that the pod wrote."""
        return self.logs[name].read_text("utf-8", errors="replace")

    def _start(self, pod: Pod, words: Sequence[str], own: Mapping[str, str]) -> Ended:
        folder = self._folder / f"pod-{next(self._numbers)}"
        for part in ("work", "out", "tmp"):
            (folder / part).mkdir(parents=True)
        self._images.start(pod.container["image"], folder / "environment")
        if self._python:
            self._images.replace_python(folder / "environment", self._python)
        mapped, inside = self._placed(folder, words)
        environment = {
            "PATH": f"{inside}/environment/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": f"{inside}/work",
            "HOSTNAME": pod.name,
            "LANG": "C.UTF-8",
            **self._cache(own),
            **self._environment,
            **own,
        }
        log = self.logs[pod.name] = folder / "log"
        try:
            code = self._process(pod, mapped, environment, folder)
        except OSError as error:
            code = 64
            log.write_text(f"fork/exec {words[0]}: {error.strerror}")
        overdue = code == _OVERDUE
        return Ended(code=code, log=_tail(log), out=folder / "out", overdue=overdue)

    def _placed(self, folder: Path, words: Sequence[str]) -> tuple[list[str], str]:
        """The command that runs in the pod's own place, and where its folders lie for it."""
        if self._unshare:
            seen = [part for path in self._visible for part in (str(path), str(path)[5:])]
            start = [*self._unshare, "sh", "-c", _INSIDE, "pod", str(folder), *seen, "--"]
            return [*start, *words], "/mnt"
        self._images.redirect(folder / "environment", folder / "out")
        mapped = str(folder / "tmp" / "inputs")
        return [word.replace(_INPUTS, mapped) for word in words], str(folder)

    def _cache(self, own: Mapping[str, str]) -> dict[str, str]:
        """Where Python keeps what it compiled, so that not every pod compiles all of it anew.

        Files of two code packages may differ and have one time and size, so each package has a
        folder of its own; Metaflow itself and what is no part of a package are the same for all.
        """
        package = own.get("METAFLOW_CODE_SHA")
        if not package or not self._unshare:
            return {}
        cache, shared = self._compiled / package, self._compiled / "shared"
        tops = {Path(*path.parts[1:2]) for path in self._images.needed}
        for same in (*tops, _ENVIRONMENT, _METAFLOW):
            (shared / same).mkdir(parents=True, exist_ok=True)
            (cache / same).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (cache / same).symlink_to(shared / same)
        return {"PYTHONPYCACHEPREFIX": str(cache)}

    def _process(
        self, pod: Pod, words: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> int:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                words,
                cwd=folder / "work",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            process.wait(pod.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _OVERDUE
        return process.returncode if process.returncode >= 0 else 128 - process.returncode


def variables(pod: Pod, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The environment that the template names; a value may refer to those before it.

    Raises `NotStartedError` for a secret that is not there.
    """
    known: dict[str, str] = {}
    for source in pod.container.get("envFrom") or ():
        known |= _secret(secrets, source["secretRef"]["name"])
    for one in pod.container.get("env") or ():
        origin = one.get("valueFrom") or {}
        if origin.get("fieldRef"):
            known[one["name"]] = _field(pod, origin["fieldRef"]["fieldPath"])
        elif origin.get("secretKeyRef"):
            reference = origin["secretKeyRef"]
            known[one["name"]] = _secret(secrets, reference["name"])[reference["key"]]
        else:
            known[one["name"]] = expand(one.get("value") or "", known)
    return known


def command(pod: Pod, environment: Mapping[str, str]) -> list[str]:
    """The command of the pod and its arguments, variables expanded."""
    words = [*(pod.container.get("command") or ()), *(pod.container.get("args") or ())]
    return [expand(word, environment) for word in words]


def _secret(secrets: Mapping[str, Mapping[str, str]], name: str) -> Mapping[str, str]:
    if name not in secrets:
        raise NotStartedError(f'CreateContainerConfigError: secret "{name}" not found')
    return secrets[name]


def _namespace() -> list[str]:
    """The command that gives a process mounts of its own, or nothing where that is not allowed."""
    for command in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        if not shutil.which("unshare"):
            break
        attempt = [*command, "mount", "-t", "tmpfs", "pod", "/mnt"]
        if subprocess.run(attempt, capture_output=True, check=False).returncode == 0:
            return command
    return []


def _field(pod: Pod, path: str) -> str:
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.uid,
        "spec.serviceAccountName": pod.service_account,
        "spec.nodeName": "machine",
        "status.hostIP": "127.0.0.1",
        "status.podIP": "127.0.0.1",
    }
    labels = {f"metadata.labels['{name}']": value for name, value in pod.labels.items()}
    return (fields | labels).get(path, "")


def _tail(log: Path) -> str:
    """The end of the log, as the message of a container that failed has it."""
    text = log.read_bytes()[-_LOG_BYTES:].decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-80:])

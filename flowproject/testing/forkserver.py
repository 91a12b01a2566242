"""The process that `warm.py` has its work done by: it imports, waits, and forks.

Run as a script, `forkserver.py FOLDER PID`, until process PID is gone. It imports libraries once.
For each environment that asks for a process it forks one that imports Metaflow and flowproject, and
that one forks for each process. Nothing here may start a thread: it would be gone in a fork.
"""

import atexit
import builtins
import contextlib
import ctypes
import functools
import gc
import importlib
import io
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Final

_KEPT: Final = 12
"""So many environments are kept with Metaflow imported; the one that waited longest makes room."""

_LIBRARIES: Final = (
    *("asyncio", "concurrent.futures", "email", "http.server", "sqlite3", "xml.etree.ElementTree"),
    *("numpy", "pandas", "pyarrow.acero", "pyarrow.dataset", "pyarrow.parquet", "duckdb"),
    *("boto3", "botocore.session", "requests", "obstore.store", "stamina", "sqlglot"),
    *("jinja2", "rich.console", "rich.table", "typer", "kubernetes", "starlette", "uvicorn"),
)
"""What does not ask the environment while it is imported."""

_OURS: Final = (
    *("metaflow.runtime", "metaflow.task", "metaflow.lint", "metaflow.cli_args"),
    *("metaflow.packaging_sys", "metaflow.pylint_wrapper", "metaflow.plugins.cards.card_cli"),
    *("flowproject.cards", "flowproject.sensing", "flowproject.journal", "flowproject.flowfiles"),
)
"""What does: Metaflow reads its settings once, and flowproject imports Metaflow.

Not `metaflow.cli`: its commands get the parameters of the flow that is there when it is imported.
And not `flowproject.baseflow`, which asks for the folder of the program that imports it.
"""

_FOR_CLUSTERS: Final = (
    *("metaflow.plugins.argo.argo_workflows", "flowproject.deploy.compiler"),
    *("flowproject.deploy.deployment", "flowproject.cli.deploy"),
)
"""What deploys, where there is something to deploy to."""

_READ_LATER: Final = ("METAFLOW_RUN_ID", "METAFLOW_INIT_", "METAFLOW_ARGO_EVENT_PAYLOAD_")
_READ_LATER_IN_PODS: Final = (
    *_READ_LATER,
    *("METAFLOW_CODE_", "METAFLOW_FLOW_", "METAFLOW_STEP_NAME", "METAFLOW_TASK_ID"),
    *("METAFLOW_RETRY_COUNT", "METAFLOW_KUBERNETES_POD_", "METAFLOW_VERSION"),
    *("METAFLOW_WORKFLOW_", "METAFLOW_ARGO_WORKFLOW_FAILURES"),
)
_READ_WHEN_IMPORTED: Final = (
    "METAFLOW_",
    "KUBECONFIG=",
    "HOME=",
    "PYTHONPATH=",
    "USER",
    "LOGNAME=",
    "SUDO_USER=",
)

# ---------------------------------------------------------------------------- the kept processes

_PATH: Final = sys.path[1:]
"""Where an interpreter looks that nobody has told anything."""

_STANDARD_LIBRARY: Final = [
    one for one in _PATH if one.startswith(sys.base_prefix) and not one.endswith("-packages")
]
_OWN_MOUNTS: Final = Path("/proc/self/ns/mnt").stat().st_ino
_NEWNS: Final = 0x00020000  # of <sched.h>; Python has `os.setns` from 3.12 on

_Program = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """A process that somebody wants, and the line on which they hear of it."""

    cwd: str
    umask: int
    group: int
    ignores_interrupts: bool
    words: list[str]
    environment: dict[str, str]
    files: tuple[int, int, int, int]
    """Standard input, output, error, and the mounts of who ordered it."""
    line: socket.socket
    program: str
    """What a pod calls its interpreter; nothing outside pods, as the next two."""
    home: str
    """The pod's virtual environment."""
    modules: str
    """The names of what is installed there."""

    @classmethod
    def read(cls, body: bytes, files: list[int], line: socket.socket) -> "_Order":
        parts = [os.fsdecode(one) for one in body.split(b"\0")]
        cwd, umask, group, ignores, count, program, home, modules, *texts = parts
        words, variables = texts[: int(count)], texts[int(count) :]
        pairs = (text.partition("=") for text in variables)
        return cls(
            cwd=cwd,
            umask=int(umask),
            group=int(group),
            ignores_interrupts=ignores == "1",
            words=words,
            environment={name: text for name, _, text in pairs},
            files=(files[0], files[1], files[2], files[3]),
            line=line,
            program=program,
            home=home,
            modules=modules,
        )

    @property
    def key(self) -> tuple[str, ...]:
        """What Metaflow and flowproject may have asked for by the time that they are imported."""
        later = _READ_LATER_IN_PODS if self.home else _READ_LATER
        asked = sorted(
            line
            for line in (f"{name}={text}" for name, text in self.environment.items())
            if line.startswith(_READ_WHEN_IMPORTED) and not line.startswith(later)
        )
        if self.home:  # whose folders have the same names for all pods
            package = self.environment.get("METAFLOW_CODE_SHA", "")
            return (self.modules, self.cwd, package, *asked)
        return (_settings_of_folder(Path(self.cwd)), *asked)

    def enter(self) -> None:
        """Be where it is to be, with its environment."""
        _enter_mounts(self.files[3])
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.environment)
        given = self.environment.get("PYTHONPATH", "").split(os.pathsep)
        sys.dont_write_bytecode = bool(self.environment.get("PYTHONDONTWRITEBYTECODE"))
        sys.pycache_prefix = self.environment.get("PYTHONPYCACHEPREFIX") or sys.pycache_prefix
        time.tzset()
        own = _PATH
        if self.home:
            sys.prefix = sys.exec_prefix = self.home
            version = f"python{sys.version_info.major}.{sys.version_info.minor}"
            own = [*_STANDARD_LIBRARY, f"{self.home}/lib/{version}/site-packages"]
            sys.path_importer_cache.clear()  # the same names are another pod's folders
        sys.path[:] = [*(str(Path(one).absolute()) for one in given if one), *own]


def _enter_mounts(file: int) -> None:
    """See the files that others see, if they have mounts of their own."""
    if os.fstat(file).st_ino == _OWN_MOUNTS:
        return
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(file, _NEWNS):
        raise OSError(ctypes.get_errno(), "setns")


def _forget_what_is_not_installed(modules: Iterable[str]) -> None:
    """Drop imported modules that this environment does not have."""
    there = {name.split(".")[0] for name in modules}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if "-packages/" in file and name.split(".")[0] not in there:
            del sys.modules[name]


def _settings_of_folder(folder: Path) -> str:
    """The file with which a project overrides Metaflow's settings, if there is one."""
    kept = (one / ".metaflow" for one in (folder, *folder.parents))
    nearest = next((one for one in kept if one.is_dir()), folder)
    return str(nearest) if (nearest / "config.json").exists() else ""


def _receive(line: socket.socket, count: int) -> tuple[bytes, list[int]] | None:
    """A message with `count` files; None if there are none any more."""
    size, files, *_ = socket.recv_fds(line, 8, count)
    if not size:
        return None
    left, parts = int.from_bytes(size, sys.byteorder), []
    while left:
        parts.append(line.recv(min(left, 1 << 16)))
        if not parts[-1]:
            return None
        left -= len(parts[-1])
    return b"".join(parts), files


def _send(line: socket.socket, body: bytes, files: list[int]) -> None:
    socket.send_fds(line, [len(body).to_bytes(8, sys.byteorder)], files)
    line.sendall(body)


def _import_ours() -> None:
    """Import what reads the environment while it is imported."""
    _import((*_OURS, *(_FOR_CLUSTERS if "KUBECONFIG" in os.environ else ())))
    if clusters := sys.modules.get("kubernetes.config.kube_config"):
        importlib.reload(clusters)  # it has asked for KUBECONFIG


def _import(names: tuple[str, ...]) -> None:
    """Import what is installed of these; why another fails, its program will say itself."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that no child copies all of it, because it looks for what is left over


class _Keeper:
    """Hands orders to processes that have imported Metaflow for them."""

    def __init__(self, folder: Path, owner: int) -> None:
        self._folder = folder
        self._owner = os.pidfd_open(owner)
        self._kept: dict[tuple[str, ...], socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / "binding"))
        self._listener.listen(64)
        (folder / "binding").rename(folder / "socket")

    def work(self) -> _Program | None:
        """Wait for orders until the owner is gone; in a child, what it is to do."""
        while True:
            waited: list[socket.socket | int] = [self._listener, self._owner]
            ready, *_ = select.select(waited, [], [])
            if self._owner in ready:
                return None
            line, _ = self._listener.accept()
            if (message := _receive(line, 4)) and (program := self._take(*message, line)):
                return program
            line.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    """Those that made room have ended."""

    def _take(self, body: bytes, files: list[int], line: socket.socket) -> _Program | None:
        order = _Order.read(body, files, line)
        control = self._kept.pop(order.key, None)
        if control is None:
            control, theirs = socket.socketpair()
            if os.fork() == 0:
                for one in (self._listener, control, line, *self._kept.values()):
                    one.close()
                for file in (self._owner, *files[:3]):
                    os.close(file)
                return functools.partial(_serve, theirs, order, self._folder / "python")
            theirs.close()
        self._kept[order.key] = control  # the newest stands last
        with contextlib.suppress(BrokenPipeError):  # it could not import something: see the log
            _send(control, body, [line.fileno(), *files])
        for file in files:
            os.close(file)
        if len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept))).close()
        return None


def _serve(control: socket.socket, first: _Order, program: Path) -> None:
    """Fork for each order of one environment, until there are no more and all have ended."""
    first.enter()
    os.close(first.files[3])
    if first.home:
        _forget_what_is_not_installed(first.modules.split("/"))
        sys.path.insert(0, first.cwd)  # as the flow will have it
    _import_ours()
    running: dict[int, tuple[int, _Order]] = {}
    while control.fileno() >= 0 or running:
        lines = {order.line: ended for ended, (_, order) in running.items()}
        controls = [control] if control.fileno() >= 0 else []
        waited: list[socket.socket | int] = [*controls, *running, *lines]
        ready, *_ = select.select(waited, [], [])
        for ended in [one for one in running if one in ready]:
            pid, order = running.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(OSError):
                order.line.sendall(b"%d\n" % code)
            order.line.close()
            os.close(ended)
        for ended in [lines[line] for line in lines if line in ready]:
            if ended in running:  # who waited for it was killed
                _kill(running[ended][0])
        if control in ready:
            if message := _receive(control, 5):
                body, (line_file, *files) = message
                order = _Order.read(body, files, socket.socket(fileno=line_file))
                if (pid := os.fork()) == 0:
                    _be(order, program)
                with contextlib.suppress(OSError):
                    order.line.sendall(b"%d %d\n" % (pid, _join(pid, order.group)))
                for file in files:
                    os.close(file)
                running[os.pidfd_open(pid)] = (pid, order)
            else:
                control.close()


def _kill(pid: int) -> None:
    """Kill a process, and those of its group if it leads one."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


# ------------------------------------------------------------------------------------- the child


def _be(order: _Order, program: Path) -> None:
    """Be the process that was ordered, to its end."""
    _join(0, order.group)
    order.enter()
    for number, file in enumerate(order.files[:3]):
        os.dup2(file, number)
    os.closerange(3, 1024)
    os.umask(order.umask)
    interrupt = signal.SIG_IGN if order.ignores_interrupts else signal.default_int_handler
    signal.signal(signal.SIGINT, interrupt)
    told_so, words = order.words[:1] == ["-u"], order.words
    _open_streams(is_buffered=not (told_so or order.environment.get("PYTHONUNBUFFERED")))
    sys.executable = order.program or str(program)
    os._exit(_run(words[1:] if told_so else words))


def _join(pid: int, group: int) -> int:
    """Let a process belong to the group of who ordered it, or lead one if that is elsewhere.

    So whoever kills the group of a run kills its steps, as it would if all had been started cold.
    It is done before the process runs and before anybody hears of it, so by both.
    """
    try:
        os.setpgid(pid, group)
    except (PermissionError, ProcessLookupError):
        with contextlib.suppress(ProcessLookupError):
            os.setpgid(pid, 0)
        return pid
    return group


def _open_streams(*, is_buffered: bool) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, f"__{name}__")
        buffering = -1 if is_buffered or not number else 0
        raw = open(number, "wb" if number else "rb", buffering, closefd=False)  # noqa: SIM115
        stream = io.TextIOWrapper(
            raw,
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=number == sys.stderr.fileno() or raw.isatty(),
            write_through=not is_buffered,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(words: list[str]) -> int:
    """Do what an interpreter does that is started with these words; its exit code."""
    code = 0
    try:
        _execute(words)
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException as error:  # noqa: BLE001  # nobody else is there to show it
        error = error.with_traceback(_own_part(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            sys.stderr.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001  # as at the end of Python
    atexit._run_exitfuncs()  # noqa: SLF001
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = 120
    return code


def _execute(words: list[str]) -> None:
    main = sys.modules["__main__"]
    form, *rest = words
    if form == "-m":
        sys.argv = ["-m", *rest[1:]]
        sys.path.insert(0, str(Path.cwd()))
        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]  # noqa: SLF001
    elif form == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)  # noqa: S102
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(form).resolve().parent))
        file = str(Path(form).absolute())
        main.__dict__.update(__file__=file, __cached__=None)
        main.__loader__ = SourceFileLoader("__main__", file)
        exec(compile(_source(file), file, "exec"), main.__dict__)  # noqa: S102


def _source(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        sys.stderr.write(f"{sys.executable}: can't open file {file!r}: {error.strerror}\n")
        sys.exit(2)


def _own_part(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback without what stands in this file."""
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _exit_code(told: object) -> int:
    if told is None:
        return 0
    if isinstance(told, int):
        return told & 0xFF
    sys.stderr.write(f"{told}\n")
    return 1


def _clear_main() -> types.ModuleType:
    """The module that this is, out of the way of programs; Metaflow puts classes into theirs."""
    this, empty = sys.modules["__main__"], types.ModuleType("__main__")
    empty.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = empty
    return this


if __name__ == "__main__":
    _THIS = _clear_main()
    _import(_LIBRARIES)
    if todo := _Keeper(Path(sys.argv[1]), int(sys.argv[2])).work():
        todo()

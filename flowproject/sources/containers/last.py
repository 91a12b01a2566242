"""The last key below a folder, found without listing what comes before its own folder."""

from flowproject.sources.containers.container import Container
from flowproject.sources.objects import Watch
from flowproject.tables.spans import key_bytes

__all__ = ["last_key"]


async def last_key(container: Container, folder: str, watch: Watch) -> str:
    """The last key below a folder that is watched; an empty text if there is none."""
    found = await container.folder(folder)
    names = found.objects | {f"{name}/" for name in found.folders}
    for name in sorted(names, key=key_bytes, reverse=True):
        if not name.endswith("/"):
            if watch.match(name):
                return name
        elif last := await last_key(container, name.removesuffix("/"), watch):
            return last
    return ""

"""obstore, into Arrow: one stream, or one for each of the lowest folders."""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import arro3.core  # noqa: F401  # obstore makes its tables of it: loaded before the clock starts
from obstore.store import S3Store

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX

URL, AT_ONCE = sys.argv[1], int(sys.argv[2])


def list_arrow() -> dict[str, int]:
    """The number of objects."""
    store = S3Store(BUCKET, endpoint=URL, client_options={"allow_http": True})

    def stream(prefix: str) -> int:
        return sum(batch.num_rows for batch in store.list(prefix, return_arrow=True))

    def folders(prefixes: Iterable[str]) -> list[str]:
        found = threads.map(store.list_with_delimiter, prefixes)
        return [folder for each in found for folder in each["common_prefixes"]]

    if AT_ONCE == 1:
        return {"objects": stream(PREFIX)}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        days = folders(folders(folders([PREFIX])))
        return {"objects": sum(threads.map(stream, days))}


report(list_arrow)

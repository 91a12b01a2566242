from collections.abc import Iterator

import pytest

from flowproject.sources.s3.access import Access
from flowproject.sources.s3.bucket import Bucket
from tests.proxy import Proxy
from tests.unit.sources.s3.lake import LOCATION, QUICK, Lake, access, port_of


@pytest.fixture
def lake() -> Iterator[Lake]:
    server = Proxy("http://127.0.0.1:1")
    regions: list[str] = []

    def reach(region: str) -> Access:
        regions.append(region)
        return here.access(region)

    here = Lake(bucket=None, server=server, regions=regions)  # type: ignore[arg-type]
    here.access = lambda _: access(port_of(server))
    here.bucket = Bucket(LOCATION, reach, limits=QUICK)
    yield here
    here.bucket.close()
    server.stop()

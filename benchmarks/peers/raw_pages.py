"""Every page's bytes hashed and nothing else: botocore's credentials and signing, urllib3.

This is the floor for whoever looks at what S3 sends, not a method: it is told (on standard input)
after which key each page starts, so that no request waits for another, and it finds no change.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session

from benchmarks.probe import report
from benchmarks.replay import BUCKET, PREFIX

URL, AT_ONCE = sys.argv[1], int(sys.argv[2])
STARTS = json.load(sys.stdin)


def hash_pages() -> dict[str, int]:
    """The number of objects on all pages, as the server says it."""
    session = Session()
    signer = S3SigV4Auth(
        session.get_credentials().get_frozen_credentials(),
        "s3",
        session.get_config_variable("region"),
    )
    pool = urllib3.PoolManager(maxsize=AT_ONCE)

    def hash_page(start: str) -> tuple[int, bytes]:
        query = {"list-type": "2", "prefix": PREFIX, "encoding-type": "url", "start-after": start}
        request = AWSRequest("GET", f"{URL}/{BUCKET}", params=query)
        signer.add_auth(request)
        signed = request.prepare()
        body = pool.request("GET", signed.url, headers=dict(signed.headers)).data
        count = body[:1024].partition(b"<KeyCount>")[2].partition(b"<")[0]
        return int(count), sha256(body).digest()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        pages = list(threads.map(hash_page, STARTS))
    return {"objects": sum(count for count, _ in pages)}


report(hash_pages)

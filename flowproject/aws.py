"""Makes AWS clients as Metaflow is set up for them: its provider, its settings, its credentials.

What is read from or written to AWS, and how, stands with the source or store that does it.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any, Final, NoReturn

from flowproject.errors import FlowprojectError, SourceError
from flowproject.metaflow_internals.datastore import s3_client
from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.metaflow_internals.settings import setting

__all__ = [
    "aws_client",
    "bucket_region",
    "bucket_request",
    "client_credentials",
    "forget_clients",
    "trusted_certificates",
]

_INSTALL: Final = "python -m pip install boto3"
# boto3's ten would make the threads of a look wait for each other.
_CONNECTIONS: Final = 64
_PATIENCE: Final = {"connect_timeout": 10, "read_timeout": 60}  # seconds
# Two, because to make a client may take seconds, and to catch a request must not wait for that.
_making, _catching = Lock(), Lock()


def aws_client(
    role: str = "",
    region: str = "",
    endpoint_url: str = "",
    *,
    failure: type[FlowprojectError] = SourceError,
) -> Any:
    """A botocore client for S3 from Metaflow's client provider.

    What is not given is as Metaflow has it for its own S3 client: METAFLOW_S3_ENDPOINT_URL,
    METAFLOW_S3_VERIFY_CERTIFICATE, METAFLOW_DATATOOLS_CLIENT_PARAMS, and then what botocore finds
    (AWS_PROFILE, AWS_REGION, ...). The credentials of a role are renewed when they run out.

    Raises:
        FlowprojectError: of the class `failure`, if boto3 is missing or the settings are wrong.
    """
    with _explained(failure), _making:
        return _client(role, region, endpoint_url, _settings())


@lru_cache(maxsize=16)
def _client(role: str, region: str, endpoint_url: str, settings: "_Settings") -> Any:
    """Shared by all who ask for the same: to make one takes longer than to list a small bucket."""
    del settings  # it is there for the cache: other settings make another client
    given = {"region_name": region, "endpoint_url": endpoint_url}
    params = {**setting("DATATOOLS_CLIENT_PARAMS"), **{key: it for key, it in given.items() if it}}
    try:
        return s3_client(role, {**params, "config": _config(params.get("config"))})
    except Exception as error:
        provider = setting("DEFAULT_AWS_CLIENT_PROVIDER")
        if provider == "boto3":
            raise
        # A plugin may raise anything. That of Outerbounds, not configured: an AttributeError.
        raise ValueError(
            f"Metaflow's client provider {provider!r} gives none ({error}). "
            "For Outerbounds' run `outerbounds configure` first"
        ) from error


_Settings = tuple[str, tuple[tuple[str, str], ...]]


def _settings() -> _Settings:
    """The settings that a client is made of, besides what is asked for."""
    # The whole environment: which of its variables botocore and its plugins read, nobody can list.
    return repr(setting("DATATOOLS_CLIENT_PARAMS")), tuple(sorted(os.environ.items()))


def forget_clients() -> None:
    """Let clients be made anew: credentials in files and caches may have been renewed by hand."""
    with _making:
        _client.cache_clear()


def bucket_request(
    client: Any, bucket: str, *, failure: type[FlowprojectError] = SourceError
) -> Any:
    """A signed request for the bucket as botocore would send it: `method`, `url` and `headers`.

    Its URL says where the bucket answers. botocore decides that: it knows the regions, the
    partitions, the names that are no host names, and every setting (dual-stack, FIPS, addressing
    style). A presigned URL leads to the oldest region instead.

    Raises:
        FlowprojectError: of the class `failure`, if there are no credentials, or botocore refuses
            the name.
    """

    def catch(request: Any, **_: Any) -> NoReturn:
        raise _CaughtError(request)

    # HEAD of a bucket, because nothing of it depends on a key.
    event = "before-send.s3.HeadBucket"
    with _explained(failure):
        # Not under the lock: another sensor's may take seconds to come.
        client_credentials(client, failure=failure).get_frozen_credentials()
    with _catching:
        client.meta.events.register_first(event, catch)
        try:
            with _explained(failure):
                client.head_bucket(Bucket=bucket)
        except _CaughtError as caught:
            return caught.request
        finally:
            client.meta.events.unregister(event, catch)
    raise AssertionError("botocore sent a request without an event before it")


def bucket_region(client: Any, bucket: str) -> str:
    """The region that a bucket says it is in; empty if it does not say."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        # Else the handler of another thread could catch this request, which is to be sent.
        with _catching:
            answer: Mapping[str, Any] = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        # A refusal and a redirect have the header, too: nobody needs rights to learn a region.
        answer = error.response
    except BotoCoreError:
        return ""
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))


def client_credentials(client: Any, *, failure: type[FlowprojectError] = SourceError) -> Any:
    """The credentials that a client signs with; `get_frozen_credentials()` renews them.

    Raises:
        FlowprojectError: of the class `failure`, if there are none.
    """
    credentials = client._request_signer._credentials  # noqa: SLF001  # a client tells no other way
    if credentials is None:
        raise _no_credentials(failure)
    return credentials


def trusted_certificates(client: Any) -> str | bool:
    """What servers' certificates are held against: a file, True (botocore's), False (nothing)."""
    trusted: str | bool = client._endpoint.http_session._verify  # noqa: SLF001  # as above
    return trusted


class _CaughtError(Exception):
    """A request that was not sent."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.request = request


def _config(given: Any) -> Any:
    """Our settings of a client; what Metaflow's settings give goes before them."""
    from botocore.config import Config

    # METAFLOW_DATATOOLS_CLIENT_PARAMS is JSON, where a Config can only be a mapping.
    ours = Config(max_pool_connections=_CONNECTIONS, **_PATIENCE)
    return ours.merge(Config(**given) if isinstance(given, Mapping) else given or Config())


@contextmanager
def _explained(failure: type[FlowprojectError]) -> Iterator[None]:
    """Tell of a missing package, missing credentials and wrong settings as a `failure`."""
    try:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError as error:
        raise failure(
            "S3 needs the package 'boto3', which is not installed", fix=f"`{_INSTALL}`"
        ) from error
    try:
        yield
    except NoCredentialsError as error:
        raise _no_credentials(failure) from error
    except (BotoCoreError, Boto3Error, ClientError, MetaflowException, ValueError) as error:
        raise failure(
            f"The AWS client can't be used: {str(error).partition(chr(10))[0]}",
            where="Metaflow's and AWS's settings",
            fix="Check AWS_PROFILE, AWS_REGION, METAFLOW_S3_ENDPOINT_URL and the role",
        ) from error


def _no_credentials(failure: type[FlowprojectError]) -> FlowprojectError:
    return failure(
        "There are no AWS credentials",
        where="Looked for in the environment, the AWS profile and the machine's role",
        fix="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role "
        "is attached",
    )

"""Makes AWS clients as Metaflow is set up for them: its provider, its settings, its credentials.

Also stores of obstore, which are to ask as such a client would. What is read from or written to
AWS, and how, stands with the source or store that does it.
"""

import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NoReturn

from flowproject.errors import FlowprojectError, SourceError
from flowproject.metaflow_internals.datastore import s3_client
from flowproject.metaflow_internals.exceptions import MetaflowException
from flowproject.metaflow_internals.settings import setting

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3Credential, S3Store

__all__ = [
    "S3Bucket",
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
# A request fails within about 30 seconds, whatever the server does. It must say something within
# _SILENCE, in which a slow line sends the parts of a file too.
_CONNECT: Final = dt.timedelta(seconds=5)
_SILENCE: Final = dt.timedelta(seconds=20)
_WHOLE: Final = dt.timedelta(hours=1)
_RETRYING: Final = dt.timedelta(seconds=15)
# So many that time alone ends them.
_RETRIES: Final = 100
_BACKOFF: Final = (dt.timedelta(milliseconds=100), dt.timedelta(seconds=3))

_LIFETIME: Final = dt.timedelta(minutes=10)
"""How long what botocore gives may be used: it renews 10 minutes before they run out at the latest,
and obstore asks again 5 minutes before the time that it is told."""

_AMAZON: Final = (".amazonaws.com", ".amazonaws.com.cn")
_ELSEWHERE: Final = ("incorrectly configured region", "AuthorizationHeaderMalformed")
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


class S3Bucket:
    """Makes stores of obstore for what lies below `prefix` in a bucket.

    Raises:
        FlowprojectError: of the class `failure`, if boto3 is missing, there are no credentials or
            the settings are wrong.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        role: str = "",
        region: str = "",
        endpoint_url: str = "",
        failure: type[FlowprojectError] = SourceError,
    ) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._role, self._endpoint_url, self._failure = role, endpoint_url, failure
        self._client = aws_client(role, region, endpoint_url, failure=failure)
        self._relocated = False

    def open(self) -> "S3Store":
        """A store of obstore for it."""
        from obstore.store import S3Store

        # botocore knows which of two forms of address a bucket has, with dots in its name or an
        # endpoint of its own.
        url = bucket_request(self._client, self._bucket, failure=self._failure).url.rstrip("/")
        return S3Store(
            self._bucket,
            prefix=self._prefix or None,
            config=self._config(url),
            client_options=self._client_options(url),
            retry_config=_retry_config(),
            credential_provider=_renewing(client_credentials(self._client, failure=self._failure)),
        )

    def options(self) -> dict[str, str]:
        """What the S3 client of Rust's object_store is told in words: for libraries that have it.

        The credentials are those of this moment.
        """
        frozen = client_credentials(self._client, failure=self._failure).get_frozen_credentials()
        url = self._client.meta.endpoint_url
        trusted = trusted_certificates(self._client)
        options = {
            "aws_access_key_id": frozen.access_key,
            "aws_secret_access_key": frozen.secret_key,
            "aws_session_token": frozen.token or "",
            "aws_region": self._client.meta.region_name,
            # Amazon's own address follows from the region, and in another form for each bucket.
            "aws_endpoint_url": ""
            if url.endswith((".amazonaws.com", ".amazonaws.com.cn"))
            else url,
            "allow_http": str(url.startswith("http:")).lower(),
            "allow_invalid_certificates": str(trusted is False).lower(),
        }
        return {name: value for name, value in options.items() if value}

    def relocate(self, error: Exception) -> "S3Store | None":
        """The store in the bucket's own region, if that is what the error is about; else None."""
        # Once only: a server that answers so for another reason would be asked for ever.
        if self._relocated or not any(sign in str(error) for sign in _ELSEWHERE):
            return None
        self._relocated = True
        region = bucket_region(self._client, self._bucket)
        if not region:
            return None
        self._client = aws_client(self._role, region, self._endpoint_url, failure=self._failure)
        return self.open()

    def _config(self, url: str) -> "S3Config":
        config: S3Config = {
            # botocore says where the bucket is, in the one setting that no variable of the
            # environment goes before; "virtual hosted" tells obstore that the bucket is in it.
            "aws_endpoint_url_s3": url,
            "virtual_hosted_style_request": True,
            "region": self._client.meta.region_name,
            "skip_signature": False,
            "disable_bulk_delete": True,  # one object needs none, and not every server has it
        }
        if encryption := setting("S3_SERVER_SIDE_ENCRYPTION"):
            config["server_side_encryption"] = encryption
        return config

    def _client_options(self, url: str) -> "ClientConfig":
        trusted = trusted_certificates(self._client)
        options: ClientConfig = {
            "allow_http": url.startswith("http:"),
            "connect_timeout": _CONNECT,
            "read_timeout": _SILENCE,
            "timeout": _WHOLE,
        }
        # Metaflow's setting: a file of certificates, True, or False for none.
        if isinstance(trusted, str):
            options["root_certificate"] = Path(trusted).read_bytes()
        elif not trusted:
            options["allow_invalid_certificates"] = True
        return options


def _retry_config() -> "RetryConfig":
    first, longest = _BACKOFF
    return {
        "max_retries": _RETRIES,
        "retry_timeout": _RETRYING,
        "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
    }


def _renewing(credentials: Any) -> "Callable[[], S3Credential]":
    """What obstore calls whenever it needs credentials: botocore's, renewed when they run out."""

    def provide() -> "S3Credential":
        # Frozen, because the three belong together: botocore may renew them between two reads.
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": dt.datetime.now(dt.UTC) + _LIFETIME,
        }

    return provide


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

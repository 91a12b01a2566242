"""What a server refuses, and what is said about it."""

import pytest

from flowproject.errors import SourceError
from tests.proxy import Answer, failure
from tests.unit.sources.s3.lake import KEY_ID, SECRET, TOKEN, Lake


@pytest.mark.parametrize(
    "answer, words",
    [
        (failure(404, "NoSuchBucket"), ["There is no bucket 'lake'", "Correct `bucket`"]),
        (
            failure(403, "AccessDenied", "User: me is not authorized"),
            ["s3:ListBucket", "arn:aws:s3:::lake", "User: me is not authorized", "`role`"],
        ),
        (failure(403, "InvalidAccessKeyId"), ["does not accept the AWS credentials"]),
        (failure(403, "SignatureDoesNotMatch"), ["aws sts get-caller-identity"]),
        (failure(418, "Teapot", "short &amp; stout"), ["418 Teapot: short & stout"]),
        (Answer(status=403, body=b"<html>Forbidden</html>"), ["s3:ListBucket", "(403)"]),
    ],
    ids=str,
)
def test_a_refusal_says_what_would_help(lake: Lake, answer: Answer, words: list[str]):
    lake.answers(answer)
    message = lake.message()
    assert all(word in message for word in words), message
    assert len(lake.server.asked) == 1


def test_a_refused_object_names_the_permission_that_is_missing(lake: Lake):
    lake.answers(failure(403, "AccessDenied", "explicit deny"))
    with pytest.raises(SourceError, match="s3:GetObject on arn:aws:s3:::lake/raw/x.csv") as raised:
        lake.bucket.head("raw/x.csv")
    assert "explicit deny" in str(raised.value)


@pytest.mark.parametrize(
    "query, action",
    [
        ({"versioning": ""}, "s3:GetBucketVersioning"),
        ({"versions": ""}, "s3:ListBucketVersions"),
        ({"list-type": "2"}, "s3:ListBucket"),
    ],
)
def test_every_question_names_its_permission(lake: Lake, query: dict[str, str], action: str):
    lake.answers(failure(403, "AccessDenied"))
    with pytest.raises(SourceError, match=f"does not allow {action} "):
        lake.bucket.get(query)


def test_a_page_of_a_proxy_is_no_listing(lake: Lake):
    lake.answers(Answer(status=200, body=b"<html>Log in to the network first</html>"))
    message = lake.message()
    assert "does not answer like S3" in message
    assert "<html>Log in" in message


@pytest.mark.parametrize(
    "answer",
    [
        failure(code, name, f"You said {SECRET} and {TOKEN} and {KEY_ID}")
        for code, name in [
            *[(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (503, "SlowDown")],
            *[(400, "ExpiredToken"), (418, "Teapot")],
        ]
    ],
    ids=str,
)
def test_secrets_are_never_repeated(lake: Lake, answer: Answer):
    lake.answers(answer)
    with pytest.raises(SourceError) as raised:
        lake.keys()
    error: BaseException | None = raised.value
    shown = f"{lake.bucket!r} {lake.bucket._shared.access!r} {lake.bucket._shared!r}"
    while error:
        shown += f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert not any(secret in shown for secret in (SECRET, TOKEN, KEY_ID))

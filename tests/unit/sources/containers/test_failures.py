import pytest
from obstore.exceptions import GenericError, InvalidPathError, PermissionDeniedError

from flowproject.sources.containers.failures import explain
from flowproject.sources.containers.location import AZURE, GCS, ContainerLocation

HERE = ContainerLocation.parse(AZURE, "raw", "in")
ANSWERED = "Error performing GET https://host/raw - Server returned non-2xx status code: "


@pytest.mark.parametrize(
    "text, key",
    [
        ('invalid path: Path "a//b" contained empty path segment', "a//b"),
        ('invalid path: Error parsing Path "a/./b": Encountered illegal character', "a/./b"),
        ('invalid path: Error parsing Path "a\nb": Encountered illegal character', "a\\nb"),
    ],
)
def test_a_key_that_can_not_be_listed_is_named(text: str, key: str):
    error = explain(InvalidPathError(f"Encountered object with {text}"), HERE)
    assert f"looks like, '{key}'" in str(error)


@pytest.mark.parametrize("body", ["404 Not Found: ", "409 Gone: <Code>ContainerNotFound</Code>"])
def test_a_missing_container_is_told_from_other_failures(body: str):
    assert "There is no container 'raw'" in str(explain(GenericError(ANSWERED + body), HERE))


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
def test_a_refusal_says_what_to_grant(status: str):
    error = explain(GenericError(f"{ANSWERED}{status}: <Code>AuthorizationFailure</Code>"), HERE)
    assert f"({status[:3]} AuthorizationFailure)" in str(error)
    assert "Storage Blob Data Reader" in str(error)
    assert "permission denied" in str(explain(PermissionDeniedError("no"), HERE))


def test_credentials_that_can_not_be_had_are_no_network_failure():
    place = ContainerLocation.parse(GCS, "raw", "")
    error = explain(GenericError("Error performing token request: no metadata server"), place)
    assert "No credentials for Google Cloud Storage" in str(error)
    assert "GOOGLE_SERVICE_ACCOUNT" in str(error)


def test_anything_else_is_told_in_one_line_without_the_insides_of_obstore():
    text = "HTTP error: error sending request\n\nDebug source:\nGeneric { 401 credential }"
    error = str(explain(GenericError(text), HERE))
    assert "error sending request" in error
    assert "Generic {" not in error
    assert "az://raw/in" in error

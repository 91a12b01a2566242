import pytest

from flowproject.errors import SourceError
from flowproject.sources.containers.location import AZURE, GCS, ContainerLocation, Service


@pytest.mark.parametrize(
    "container, key, name, prefix",
    [
        ("raw", "", "raw", ""),
        ("raw", "a", "raw", "a/"),
        ("raw", "a/b/", "raw", "a/b/"),
        ("raw/a", "b", "raw", "a/b/"),
        ("raw/a/", "b", "raw", "a/b/"),
        ("az://raw", "", "raw", ""),
        ("azure://raw/a", "", "raw", "a/"),
        ("$web", " a ", "$web", " a /"),
    ],
)
def test_container_and_key_together_say_where_to_look(
    container: str, key: str, name: str, prefix: str
):
    place = ContainerLocation.parse(AZURE, container, key)
    assert (place.container, place.prefix) == (name, prefix)
    assert f"{place.folder}/" == prefix or not prefix


@pytest.mark.parametrize("container", ["", "a", "UPPER", "s3://raw", "://raw", "/raw", "a b c"])
def test_what_names_no_container_is_refused_with_an_example(container: str):
    with pytest.raises(SourceError, match=r"names no container.*az://my-container/some/path"):
        ContainerLocation.parse(AZURE, container, "")


@pytest.mark.parametrize(
    "key", ["/a", "a//b", "//", "/", "a//", ".", "..", "./a", "a/../b", "a\nb"]
)
@pytest.mark.parametrize("service", [AZURE, GCS])
def test_a_key_that_obstore_would_change_is_refused(service: Service, key: str):
    with pytest.raises(SourceError, match="obstore.*can't ask for that"):
        ContainerLocation.parse(service, "raw", key)


def test_a_place_is_shown_as_an_address():
    assert str(ContainerLocation.parse(GCS, "gs://raw/a", "b")) == "gs://raw/a/b"

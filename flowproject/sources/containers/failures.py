"""Explains what goes wrong when obstore asks a service, in errors that have no secret in them."""

import re
from typing import Final

from flowproject.errors import SourceError
from flowproject.sources.containers.location import ContainerLocation

__all__ = [
    "explain",
    "is_unsure",
    "not_a_single_object",
    "odd_key",
    "outside",
    "repeated",
    "without_etag",
]

_ESCAPED: Final = re.compile("%EF%BF%B[EF]", re.IGNORECASE)
# obstore's exceptions are a few classes; status and code of the answer stand in their text only.
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,80})</Code>")
_NO_CREDENTIALS: Final = re.compile("credential provider: |performing token request")
# Both ways in which obstore names a key that it refuses.
_PATH: Final = re.compile(
    r'invalid path: (?:Error parsing )?Path "(.*?)"(?::| contained)', re.DOTALL
)
# Azure's word, and that of Google's XML.
_MISSING: Final = {"ContainerNotFound", "NoSuchBucket"}
_SHOWN_CHARACTERS: Final = 300


def is_unsure(key: str) -> bool:
    """Whether a listed key may stand for several: XML can't hold what some of them have in them.

    Azure escapes U+FFFE and U+FFFF, others write U+FFFD for all such characters.
    """
    return not key or "\ufffd" in key or ("%" in key and bool(_ESCAPED.search(key)))


def explain(error: Exception, place: ContainerLocation) -> SourceError:
    """The error to raise for one that obstore raised about this place."""
    from obstore.exceptions import (
        InvalidPathError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    # What follows are pages of obstore's insides, in which all of the patterns might be found.
    text = str(error).partition("Debug source:")[0]
    # From the surest to the vaguest: a missing container has the class of any failure in obstore,
    # and so have credentials that can't be had.
    status, code = _found(_STATUS, text), _found(_CODE, text)
    if isinstance(error, InvalidPathError):
        return odd_key(_found(_PATH, text) or text, place)
    if _NO_CREDENTIALS.search(text):
        return _without_credentials(place, _short(text))
    if code in _MISSING or status == "404":
        return _missing(place)
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in ("401", "403"):
        return _refused(place, f"{status} {code}".strip())
    return SourceError(
        f"{place.service.name} did not answer as it should: {_short(text)}",
        where=str(place),
        fix="Check the address and the network; the next tick looks again",
    )


def odd_key(key: str, place: ContainerLocation) -> SourceError:
    """The error for a key that obstore can't list as it is."""
    return SourceError(
        f"The {place.service.container} holds an object whose key can't be listed exactly: it is, "
        f"or looks like, {key!r}",
        where=str(place),
        allowed="obstore lists no keys that begin or end with a slash, have an empty name, '.' or "
        "'..' between slashes, a control character, or one that XML can't hold",
        fix="Rename or delete that object (a placeholder of an empty folder can go), or watch "
        "a `key` that it isn't below; where it only ends with a slash, `include` can leave it out",
    )


def outside(key: str, place: ContainerLocation) -> SourceError:
    """The error for an object that a server lists although nobody asked for it."""
    return SourceError(
        f"{place.service.name} lists the object {key!r}, which is not below {place.prefix!r}",
        where=str(place),
        fix="Report it to whoever runs that server: what it leaves out instead nobody can tell",
    )


def repeated(key: str, place: ContainerLocation) -> SourceError:
    """The error for a listing that comes back to where it was."""
    return SourceError(
        f"{place.service.name} lists the same objects again, from {key!r} on",
        where=str(place),
        fix="Report it to whoever runs that server; or is there such an object with a slash behind "
        "its key? Rename or delete that one",
    )


def without_etag(key: str, place: ContainerLocation) -> SourceError:
    """The error for an object of which nothing is known that could be compared."""
    return SourceError(
        f"{place.service.name} tells no ETag of {key!r}, and everything else is ignored",
        where=str(place),
        fix="Take size or last_modified out of `ignore` under [data] in flowproject.toml",
    )


def not_a_single_object(place: ContainerLocation, mode: str) -> SourceError:
    """The error for a check mode that watches one object and a key that names a folder."""
    return SourceError(
        f"key = {place.key!r} names no object, but check_mode = {mode!r} watches one object",
        where=str(place),
        fix='Name an object in `key`, or put check_mode = "files_metadata" to watch a folder',
    )


def _missing(place: ContainerLocation) -> SourceError:
    noun = place.service.container
    return SourceError(
        f"There is no {noun} {place.container!r} in {place.service.name}",
        where=str(place),
        fix=f"Correct `{noun}` under [data] in flowproject.toml, or create it",
    )


def _refused(place: ContainerLocation, answer: str) -> SourceError:
    return SourceError(
        f"{place.service.name} refused to show {str(place)!r} ({answer or 'permission denied'})",
        where=f"Credentials come from {place.service.credentials}",
        fix=f"Grant {place.service.permission}; or check that the credentials are right",
    )


def _without_credentials(place: ContainerLocation, reason: str) -> SourceError:
    return SourceError(
        f"No credentials for {place.service.name} could be had: {reason}",
        where=f"Looked for them in {place.service.credentials}",
        fix="Log in, or set one of these",
    )


def _found(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""


def _short(text: str) -> str:
    return text.partition("\n")[0].strip()[:_SHOWN_CHARACTERS]

"""Why a store failed, in words that name the one thing to do; never with a key or a signature."""

import re
from typing import Final

from flowproject.errors import JournalError
from flowproject.secrecy import safe

__all__ = ["explained"]

_LONGEST: Final = 300
_ANSWER: Final = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")
_STATUS: Final = re.compile(r"non-2xx status code: (\d{3}[ \w]*)")
_REQUEST: Final = re.compile(r"performing [A-Z]+ (\w+://[^/\s]+)")
_RETRIES: Final = re.compile(r"after (\d+) retries")
_PREAMBLE: Final = re.compile(r"^(?:.* - |Generic \w+ error: )")
_SYSTEM_ERROR: Final = re.compile(r'message: "([^"\\]+)"|source: (TimedOut)')

_RIGHTS: Final = "s3:GetObject, s3:PutObject, s3:DeleteObject and, on the bucket, s3:ListBucket"
_LOGIN: Final = "AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role"
_FIXES: Final = {
    "NoSuchBucket": "Create it, or set METAFLOW_DATASTORE_SYSROOT_S3 to a bucket that is there",
    "InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken": f"Check {_LOGIN}",
    "External AWS credential provider": f"Log in to AWS anew, or check {_LOGIN}",
    "AccessDenied": f"Allow {_RIGHTS}",
    "403 Forbidden": f"Check {_LOGIN}, and allow {_RIGHTS}",
    "error sending request": "Check the network and the endpoint; nothing was lost or advanced, "
    "and the next tick goes on from here",
}
_OTHERWISE: Final = (
    "Nothing was lost or advanced; check the datastore and its permissions, and the next tick "
    "goes on from here"
)


def explained(error: Exception, *, verb: str, key: str, root: str) -> JournalError:
    """What to tell of a failure of the store at `root`, when it was to `verb` the object `key`."""
    text = str(error)
    fixes = (fix for sign, fix in _FIXES.items() if re.search(sign, text))
    return JournalError(
        f"The journal could not {verb} {key!r}: {_reason(text)}",
        where=f"Datastore {root}",
        fix=next(fixes, _OTHERWISE) if root.startswith("s3://") else _OTHERWISE,
    )


def _reason(text: str) -> str:
    """What went wrong, at which address, and how often it was tried anew."""
    address, retries = _REQUEST.search(text), _RETRIES.search(text)
    facts = [
        address[1] if address else "",
        f"after {retries[1]} retries" if retries else "",
    ]
    told = ", ".join(filter(None, facts))
    return _said(text) + (f" ({told})" if told else "")


def _said(text: str) -> str:
    """What the server said, or what obstore says of it, in one line.

    A server's whole answer would show the id of an access key, and what was signed.
    """
    if answer := _ANSWER.search(text):
        return ": ".join(filter(None, answer.groups()))
    if status := _STATUS.search(text):
        return f"the server answered {status[1]}"
    first = _PREAMBLE.sub("", text.partition("\n")[0]).partition("<")[0].strip()
    cause = _SYSTEM_ERROR.search(text)
    causes = filter(None, cause.groups() if cause else ())
    return ": ".join([safe(first)[:_LONGEST], *(one for one in causes if one not in first)])

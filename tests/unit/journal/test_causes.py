"""Why a store failed, in words."""

from flowproject.journal.causes import explained


def test_a_cause_is_told_once() -> None:
    error = OSError(
        "Generic LocalFileSystem error: Unable to open file /x: Permission denied (os error 13)\n\n"
        'Debug source: Os { code: 13, kind: PermissionDenied, message: "Permission denied" }'
    )
    told = str(explained(error, verb="read", key="k", root="/x"))
    assert told.count("Permission denied") == 1

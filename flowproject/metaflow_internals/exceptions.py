"""Names exceptions that Metaflow raises, and finds what they hide.

Uses `metaflow.exception` (`MetaflowException`, `MetaflowNotFound`, `ParameterFieldFailed`).
"""

from metaflow.exception import MetaflowException, MetaflowNotFound, ParameterFieldFailed

__all__ = ["MetaflowException", "MetaflowNotFound", "users_error"]


def users_error(error: Exception) -> Exception:
    """The error of the user's own function, where Metaflow raised one in its place."""
    if isinstance(error, ParameterFieldFailed) and isinstance(error.__context__, Exception):
        # Metaflow's own message is a whole traceback.
        return error.__context__
    return error

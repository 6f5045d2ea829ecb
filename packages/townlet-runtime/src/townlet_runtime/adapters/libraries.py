"""The optional libraries, imported in one place."""

from townlet_runtime.errors import MissingExtraError

try:
    import gymnasium
except ModuleNotFoundError as error:
    if error.name != "gymnasium":
        raise
    raise MissingExtraError(
        "environments of Gymnasium and PettingZoo need `gymnasium`: install 'townlet-runtime[gymnasium]'"
    ) from error

__all__ = ["gymnasium"]

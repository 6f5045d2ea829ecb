"""Code of installed packages by name: the entry points of a group."""

from __future__ import annotations

from importlib.metadata import entry_points

from townlet_trajectory.errors import RegistrationError


def registered_names(group: str) -> tuple[str, ...]:
    """List the names that installed packages registered in an entry point group, sorted."""
    return tuple(sorted(entry_points(group=group).names))


def load_registered(group: str, name: str) -> object | None:
    """Import the object that an installed package registered as `name`; None where no package did.

    Args:
        group: the entry point group, such as `townlet.formats`.
        name: the entry point.

    Raises:
        RegistrationError: if it cannot be imported, or packages registered different objects under one name.
    """
    # A package that is found by two paths registers the same object twice.
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not found:
        return None
    if len(found) > 1:
        raise RegistrationError(group, name, f"registered more than once: {', '.join(sorted(found))}")
    ((value, entry),) = found.items()
    try:
        loaded: object = entry.load()
    except Exception as error:  # the import runs somebody else's code
        raise RegistrationError(group, name, f"{value} cannot be imported: {type(error).__name__}: {error}") from error
    return loaded

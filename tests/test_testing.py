import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

from temporal_slo import temporal, testing


def protocols() -> Iterator[type]:
    """The protocols of the package that sends requests to Temporal."""
    for module in pkgutil.iter_modules(temporal.__path__, f"{temporal.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if getattr(value, "_is_protocol", False) and value.__module__ == module.name:
                yield value


FAKES = [value for name, value in vars(testing).items() if name.startswith("Fake")]


def methods(kind: type) -> dict[str, inspect.Signature]:
    """The public methods of a class and their signatures, without annotations."""
    return {
        name: inspect.signature(method).replace(
            parameters=[
                parameter.replace(annotation=parameter.empty)
                for parameter in inspect.signature(method).parameters.values()
            ],
            return_annotation=inspect.Signature.empty,
        )
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("protocol", [*protocols()], ids=lambda protocol: protocol.__name__)
def test_every_protocol_has_a_fake(protocol: type) -> None:
    """Each protocol has exactly one public fake, with the same methods."""
    wanted = methods(protocol)
    assert wanted
    assert sum(wanted.items() <= methods(fake).items() for fake in FAKES) == 1


def test_protocols() -> None:
    """The protocols are those of visibility, events, task queues, task problems, schedules and activities.

    Visibility has two, of which one also lists by status: one fake has both.
    """
    assert (len([*protocols()]), len(FAKES)) == (8, 7)

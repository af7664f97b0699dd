"""The routers of this process. Apart from their class, which Ray copies by value together with its module's state."""

import weakref
from collections.abc import Mapping
from typing import Any, Protocol


class Router(Protocol):
    """What is asked of a handle's router."""

    @property
    def curr_replicas(self) -> Mapping[Any, Any]:
        """The replicas that it may send to, by id."""


_known: "weakref.WeakSet[Any]" = weakref.WeakSet()


def add(router: Router) -> None:
    """Note a router, for as long as somebody holds it."""
    _known.add(router)


def replicas() -> int | None:
    """How many running replicas Serve has told the routers of; None while there is no router."""
    return max((len(router.curr_replicas) for router in list(_known)), default=None)

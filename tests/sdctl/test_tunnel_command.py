"""Which ports `sdctl forward` takes, and how long it holds them."""

from contextlib import AbstractContextManager, ExitStack, nullcontext
from io import StringIO
from typing import cast

import pytest

from sdctl.commands.forward import hold, open_forward, plan
from sdctl.errors import InvalidRequest, NotAllowed
from sdctl.output import Output
from sdctl.targets.base import Endpoint, Target
from sdctl.targets.forwarding import Forward, Listen

OPEN = Endpoint("http://127.0.0.1:1", via="tunnel")


class Cluster:
    """A target that can forward; remembers how it was asked."""

    def forward(self, what: str, listen: Listen) -> AbstractContextManager[Forward]:
        self.asked = (what, listen)
        return nullcontext(Forward(OPEN, self.check))

    def check(self) -> None:
        raise NotAllowed("You may not get pods/portforward.")


class Direct:
    """A target whose addresses are open already."""

    def endpoint(self) -> AbstractContextManager[Endpoint]:
        return nullcontext(Endpoint("http://127.0.0.1:2"))


def test_the_usual_ports_or_free_ones_or_those_chosen() -> None:
    usual = plan(["serve", "dashboard", "serve"], [])
    assert {each: (listen.port, listen.or_free) for each, listen in usual.items()} == {
        "serve": (8000, True),
        "dashboard": (8265, True),
    }
    assert [listen.port for listen in plan(["serve", "dashboard"], [0]).values()] == [0, 0]
    chosen = plan(["dashboard", "serve"], [9000, 9001], "::1")
    assert [(each.port, each.or_free, each.address) for each in chosen.values()] == [
        (9000, False, "::1"),
        (9001, False, "::1"),
    ]


@pytest.mark.parametrize(("what", "ports"), [(["metrics"], []), (["serve", "dashboard"], [8000]), (["serve"], [1, 2])])
def test_what_cannot_be_forwarded(what: list[str], ports: list[int]) -> None:
    with pytest.raises(InvalidRequest):
        plan(what, ports)


def test_an_open_address_is_warned_of_and_a_refusal_ends_the_wait() -> None:
    target, errors = Cluster(), StringIO()
    with ExitStack() as stack:
        listen = Listen("0.0.0.0", 9000)
        opened = open_forward(cast("Target", target), "serve", listen, Output(stderr=errors), stack)
        assert target.asked[1].port == 9000
        assert "without encryption" in errors.getvalue()
        with pytest.raises(NotAllowed):
            hold([opened])


def test_a_target_that_needs_no_forward_is_not_held() -> None:
    with ExitStack() as stack:
        opened = open_forward(cast("Target", Direct()), "serve", Listen(), Output(), stack)
        hold([opened])
    assert opened.endpoint.url == "http://127.0.0.1:2"

"""Carry out an order: all images at once, each saved as soon as it is there, shown in their order."""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sdctl import dialects, files, png, receipt, service
from sdctl.dialects import Dialect, ImageAsk, Picture
from sdctl.errors import InvalidRequest, SdctlError
from sdctl.imagine.client import ImageClient, Made
from sdctl.imagine.plan import Order
from sdctl.targets.base import Endpoint

PARALLEL = 16  # requests in flight: enough to fill a batch on each of a few replicas


@dataclass(frozen=True)
class Outcome:
    """What became of one ask: an image (saved at `path`, or to be written to stdout), or an error."""

    ask: ImageAsk
    made: Made | None = None
    path: Path | None = None
    error: SdctlError | None = None


@dataclass(frozen=True)
class Waiting:
    """A try failed and another follows after `seconds`."""

    reason: str
    seconds: float


Event = Outcome | Waiting


def check_dialect(name: str) -> None:
    """Raise InvalidRequest for a dialect that does not exist."""
    if name != "auto" and name not in dialects.DIALECTS:
        raise InvalidRequest(f"There is no dialect {name!r}.", hint="Use auto, sdctl or openai.")


def check(order: Order) -> None:
    """Raise InvalidRequest for a request that a service of ours would refuse anyway."""
    for ask in order.asks:
        dialects.check(ask)


def events(order: Order, endpoint: Endpoint, dialect: str, *, timeout_s: float) -> Iterator[tuple[int, Event]]:
    """Make the images and give what happens, with the number of the image it happens to (-1: to all).

    `timeout_s` holds for each image. Raises what keeps any image from being made.
    """
    optional = frozenset({"response_format"} if order.seed_given else {"response_format", "seed"})
    with service.http_client(endpoint, timeout_s=timeout_s) as http:
        client = ImageClient(http, endpoint, optional=optional)
        if dialect == "auto":
            waits: list[tuple[int, Event]] = []
            spoken = client.find_dialect(
                timeout_s, lambda reason, seconds: waits.append((-1, Waiting(reason, seconds)))
            )
            yield from waits
        else:
            spoken = dialects.DIALECTS[dialect]
        if spoken.name == "sdctl":
            check(order)
        for number, event in _all(order, client, spoken, timeout_s):
            yield number, _saved(event, order, number) if isinstance(event, Outcome) else event


def _all(order: Order, client: ImageClient, dialect: Dialect, timeout_s: float) -> Iterator[tuple[int, Event]]:
    """Run the asks on threads. They are daemons, so that Ctrl-C ends the process and with it their requests."""
    todo: queue.SimpleQueue[tuple[int, ImageAsk]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Event | BaseException]] = queue.SimpleQueue()

    def make(number: int, ask: ImageAsk) -> Made:
        def notify(reason: str, wait_s: float) -> None:
            done.put((number, Waiting(reason, wait_s)))

        return client.make(dialect, ask, timeout_s=timeout_s, notify=notify)

    for item in enumerate(order.asks):
        todo.put(item)
    for _ in range(min(PARALLEL, len(order.asks))):
        threading.Thread(target=_work, args=(todo, done, make), daemon=True).start()
    left = len(order.asks)
    while left:
        number, event = done.get()
        if isinstance(event, BaseException):
            raise event
        left -= isinstance(event, Outcome)
        yield number, event


def _work(
    todo: "queue.SimpleQueue[tuple[int, ImageAsk]]",
    done: "queue.SimpleQueue[tuple[int, Event | BaseException]]",
    make: Callable[[int, ImageAsk], Made],
) -> None:
    while True:
        try:
            number, ask = todo.get_nowait()
        except queue.Empty:
            return
        try:
            done.put((number, Outcome(ask, made=make(number, ask))))
        except SdctlError as error:
            done.put((number, Outcome(ask, error=error)))
        except BaseException as error:  # a bug: it must surface in the main thread, not vanish in this one
            done.put((number, error))


def _saved(outcome: Outcome, order: Order, number: int) -> Outcome:
    if outcome.made is None:
        return outcome
    picture = outcome.made.picture
    if order.metadata and png.is_png(picture.data):
        picture = replace(picture, data=receipt.write(picture.data, picture.receipt))
    outcome = replace(outcome, made=replace(outcome.made, picture=picture))
    if not order.places:
        return outcome
    try:
        return replace(outcome, path=files.save(order.places[number], picture.data, force=order.force))
    except SdctlError as error:
        return replace(outcome, error=error)


def differences(picture: Picture, order: Order) -> list[str]:
    """In what the service differs from the one that made the image whose receipt is replayed."""
    names = ("model", "revision", "scheduler")
    was, now = order.replayed, picture.receipt
    if was is None:
        return []
    return [
        f"{name} {getattr(was, name)}, now {getattr(now, name)}"
        for name in names
        if getattr(was, name) is not None and getattr(was, name) != getattr(now, name)
    ]

"""Shows a running load test: redrawn in place on a terminal, one line every few seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdctl.loadtest.live import Live
from sdctl.output import Output

LINE_EVERY_S = 5.0


@contextmanager
def shown(live: Live, output: Output) -> Iterator[Callable[[], None]]:
    """Give a function that shows the present state; call it about twice a second."""
    last = time.monotonic()

    def draw() -> None:
        nonlocal last
        now = time.time()
        lines = live.lines(now)
        if output.live:
            redraw(lines)
        elif time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            output.info(live.line(now))

    with output.screen() as redraw:
        yield draw

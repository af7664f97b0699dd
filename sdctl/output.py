"""What the user sees: results on stdout, everything else on stderr; JSON as a contract."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

    Renderable = RenderableType  # what other modules call it: they never import rich


class Output:
    """The two streams of one command; with `as_json`, stdout carries JSON and nothing else."""

    def __init__(self, *, as_json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.as_json = as_json
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr

    def console(self) -> "Console":
        """A rich console on stdout, made when first needed: rich costs 50 ms to import."""
        from rich.console import Console

        return Console(file=self._stdout, soft_wrap=True, highlight=False)

    def messages(self) -> "Console":
        """A rich console on stderr."""
        from rich.console import Console

        return Console(file=self._stderr, soft_wrap=True, highlight=False)

    def result(self, document: Mapping[str, Any], show: "Callable[[], RenderableType | str]") -> None:
        """Give a command's result: the document with --json, else what `show` renders (text as it is)."""
        if self.as_json:
            self.json_line(document, indent=2)
            return
        rendered = show()
        if isinstance(rendered, str):
            self.text(rendered)
        else:
            self.console().print(rendered)

    def json_line(self, document: Mapping[str, Any], *, indent: int | None = None) -> None:
        """Print one JSON document on stdout at once."""
        print(json.dumps(document, indent=indent, ensure_ascii=False, default=str), file=self._stdout, flush=True)

    def text(self, line: str) -> None:
        """Print a line of the result, unstyled and unwrapped."""
        print(line, file=self._stdout, flush=True)

    def binary(self, data: bytes) -> None:
        """Write bytes (an image) on stdout, whole, and nothing around them."""
        self._stdout.flush()
        self._stdout.buffer.write(data)
        self._stdout.buffer.flush()

    def info(self, message: str) -> None:
        """Tell the user something that is no result."""
        print(message, file=self._stderr, flush=True)

    def warn(self, message: str) -> None:
        """Tell the user something to look at."""
        self.info(f"Warning: {message}")

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal that can be redrawn."""
        return self.messages().is_terminal and not self.messages().is_dumb_terminal

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "RenderableType":
        """A borderless table of plain strings."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    @contextmanager
    def redrawn(self, render: "Callable[[], RenderableType]", *, on_stdout: bool = False) -> Iterator[None]:
        """Keep what `render` gives on the screen, drawn again four times a second, and gone after the block."""
        from rich.live import Live

        console = self.console() if on_stdout else self.messages()
        with Live(console=console, get_renderable=render, transient=True, refresh_per_second=4):
            yield

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """A progress display on stderr; draws nothing where stderr is no terminal."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.messages(), transient=True, disable=not self.live) as progress:
            yield progress

    @contextmanager
    def screen(self) -> "Iterator[Callable[[Sequence[str]], None]]":
        """Give a function that redraws lines in place on stderr; without a terminal it draws nothing."""
        if not self.live:
            yield lambda _lines: None
            return
        from rich.live import Live
        from rich.text import Text

        with Live(console=self.messages(), auto_refresh=False, transient=True) as live:
            yield lambda lines: live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)

"""How long `sdctl --version` and `sdctl --help` take, beside an empty two-command Typer application.

Run `python -m loadtests.benchmarks.cli_start`; it prints a table and puts it into RESULTS.md beside it.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtests.benchmarks import results

ROUNDS = 15
VERSION_BAR_MS, HELP_BAR = 60.0, 1.2

EMPTY_APP = """
import typer
app = typer.Typer()
@app.command()
def one() -> None: ...
@app.command()
def two() -> None: ...
app()
"""

ENTRY = "import sys; from sdctl.cli import main; main()"  # what the installed `sdctl` script holds


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one command: the quickest run, the median one, and the processor time of the quickest."""

    best: float
    median: float
    cpu: float


def run_once(command: list[str]) -> tuple[float, float]:
    """Wall and processor time of one run in ms."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0  # reaped here, for its resource usage
    return (time.perf_counter() - start) * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def measure(commands: dict[str, list[str]], rounds: int = ROUNDS) -> dict[str, Timing]:
    """Time the commands in turn, so that a busy moment hits all of them; the first round only warms the caches."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            taken = run_once(command)
            if number:
                runs[name].append(taken)
    return {
        name: Timing(
            min(wall for wall, _ in taken), statistics.median(wall for wall, _ in taken), min(c for _, c in taken)
        )
        for name, taken in runs.items()
    }


def table(timings: dict[str, Timing]) -> str:
    """The figures as Markdown, each bar with its verdict."""
    rows = [f"| {name} | {each.best:.0f} | {each.median:.0f} | {each.cpu:.0f} |" for name, each in timings.items()]
    version, ratio = timings["sdctl --version"].cpu, timings["sdctl --help"].cpu / timings["empty app --help"].cpu
    bars = [
        f"`sdctl --version`: {version:.0f} ms, at most {VERSION_BAR_MS:.0f}: {_verdict(version <= VERSION_BAR_MS)}.",
        f"`sdctl --help`: {ratio:.2f} x the empty application, at most {HELP_BAR}: {_verdict(ratio <= HELP_BAR)}.",
    ]
    return "\n".join(
        [
            f"Python {platform.python_version()}, {os.cpu_count()} CPUs, {ROUNDS} rounds in turn, load average "
            f"{os.getloadavg()[0]:.1f}. On a busy machine the processor time is the figure to compare.",
            "",
            "| command | best, ms | median, ms | processor, ms |",
            "|---|--:|--:|--:|",
            *rows,
            "",
            *(f"- {bar}" for bar in bars),
        ]
    )


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    """Measure, print, and keep the figures."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.py"
        empty.write_text(EMPTY_APP, encoding="utf-8")
        timings = measure(
            {
                "python -c pass": [sys.executable, "-c", "pass"],
                "empty app --help": [sys.executable, str(empty), "--help"],
                "sdctl --version": [sys.executable, "-c", ENTRY, "--version"],
                "sdctl --help": [sys.executable, "-c", ENTRY, "--help"],
            }
        )
    text = table(timings)
    print(text)
    results.put("Start of the command line", text)


if __name__ == "__main__":
    main()

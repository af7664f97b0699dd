"""One load test from its settings to its results: child, watchers, live screen, report."""

import signal
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdctl.errors import Interrupted, SdctlError
from sdctl.loadtest.child import Child
from sdctl.loadtest.live import Live
from sdctl.loadtest.plan import Plan, Stage
from sdctl.loadtest.prediction import Prediction, Scaling, predict
from sdctl.loadtest.probe import Probe, probe
from sdctl.loadtest.records import Ledger, Objective, Record
from sdctl.loadtest.results import SAMPLES, Results
from sdctl.loadtest.summary import Run, summarise
from sdctl.loadtest.timeline import drain
from sdctl.loadtest.transitions import Transition
from sdctl.loadtest.watch import ServeWatcher, Watch, Watcher, scaling
from sdctl.output import Output
from sdctl.ray_api import RayApi
from sdctl.targets.base import Endpoint, Target

LINE_EVERY_S = 5.0
SCREEN_EVERY_S = 0.5
DRAIN_MARGIN_S = 90.0


@dataclass(frozen=True)
class Settings:
    """What a command line asks of a load test; times in seconds."""

    plan: Plan
    folder: Path
    prompts: Sequence[Mapping[str, Any]]
    timeout_s: float = 120.0
    grace_s: float = 30.0
    warmup_s: float = 0.0
    until_drained: bool = False
    seed: int = 0
    objectives: Sequence[Objective] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    worker_limit: int | None = None
    told: Mapping[str, Any] = field(default_factory=dict)  # the options as the report shows them


class LoadTest:
    """Runs one load test; whatever happens on the way, every request that was sent is in the result."""

    def __init__(self, target: Target, settings: Settings, output: Output) -> None:
        self._target = target
        self._settings = settings
        self._output = output
        self._results: Results | None = None  # made once the service has answered: a wrong URL leaves no folder
        self._transitions: list[Transition] = []
        self._taking = threading.Lock()
        self._ledger = Ledger()
        self._live = Live(time.time(), settings.plan.run_time_s)
        self._notes: list[str] = []
        self._scaling: Scaling | None = None
        self._prediction: Prediction | None = None
        self._interrupted = 0

    def run(self) -> dict[str, Any]:
        """Send the load, watch, and give the summary; raises SdctlError before anything is sent, never after."""
        with ExitStack() as stack:
            endpoint = stack.enter_context(self._target.endpoint())
            facts = probe(endpoint)
            self._results = Results(self._settings.folder)
            if facts.busy:
                self._note("The service was not idle before the run.")
            watchers = self._watchers(stack)
            started = time.time()
            warm = self._warm_up(endpoint)
            watch = Watch(watchers, self._took)
            watch.start()
            self._send(endpoint, self._settings.plan, self._ledger)
            ended = time.time()
            if self._settings.until_drained and watchers and not self._interrupted:
                self._wait_drained()
            watch.stop()
        return self._finish(started, ended, warm, facts, endpoint)

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._output.info(text)

    def _watchers(self, stack: ExitStack) -> list[Watcher]:
        """What can be watched of this target, and the prediction; a dashboard out of reach is told, not fatal."""
        watchers: list[Watcher] = []
        try:
            api = stack.enter_context(RayApi(stack.enter_context(self._target.dashboard())))
            self._scaling, running = scaling(api, self._settings.worker_limit)
            self._prediction = predict(self._settings.plan, self._scaling, running=running)
            watchers.append(ServeWatcher(api))
            self._output.info(_predicted(self._prediction))
        except SdctlError as error:
            self._note(f"Replicas and nodes are not watched: {error.message}")
        if self._target.name == "kubernetes":
            from sdctl.cluster.watching import KubernetesWatcher

            watchers.append(KubernetesWatcher.of(self._target))
        return watchers

    def _took(self, change: Transition) -> None:
        with self._taking:
            self._transitions.append(change)
            if self._results is not None:
                self._results.transition(change)
            self._live.change(change)

    def _warm_up(self, endpoint: Endpoint) -> list[Record]:
        if not self._settings.warmup_s:
            return []
        ledger = Ledger()
        self._live.phase = "warming up"
        plan = Plan("warm-up", (Stage(1, 1.0, self._settings.warmup_s),), run_time_s=self._settings.warmup_s)
        self._send(endpoint, plan, ledger)
        return ledger.records

    def _send(self, endpoint: Endpoint, plan: Plan, ledger: Ledger) -> None:
        """Run the generator to its end: the plan's, Ctrl-C's (a second one at once), or its own death."""
        child = Child(self._job(endpoint), plan, endpoint.url, grace_s=self._settings.grace_s)
        reader = threading.Thread(target=self._read, args=(child, ledger), daemon=True)
        reader.start()
        counted = ledger is self._ledger
        if counted:
            self._live.started, self._live.phase = time.time(), "running"
        try:
            with self._interrupts(child), self._output.screen() as draw:
                self._show(reader, plan, draw)
            code = child.close()
            reader.join(timeout=10)
            ledger.close()
            if ledger.started is None and self._interrupted:
                raise Interrupted("Interrupted before any request was sent.")
            if ledger.started is None:
                raise SdctlError("The load generator did not start.", hint=child.explain()[-600:])
            if code not in (0, 1) and not self._interrupted:  # 1: requests failed, which the records tell
                self._note(f"The load generator died (exit code {code}); what was in flight counts as unfinished.")
        finally:
            child.kill()
            child.discard()

    def _read(self, child: Child, ledger: Ledger) -> None:
        for event in child.events():
            record = ledger.take(event)
            self._live.in_flight = ledger.in_flight
            if record is not None and ledger is self._ledger and self._results is not None:
                self._results.request(record)
                self._live.record(record, ledger.in_flight)

    def _show(self, reader: threading.Thread, plan: Plan, draw: Callable[[Sequence[str]], None]) -> None:
        last = time.monotonic()
        while reader.is_alive():
            reader.join(timeout=SCREEN_EVERY_S)
            now = time.time()
            self._live.users = plan.users_at(now - self._live.started)
            draw(self._live.lines(now))
            if not self._output.live and time.monotonic() - last >= LINE_EVERY_S:
                last = time.monotonic()
                self._output.info(self._live.line(now))

    @contextmanager
    def _interrupts(self, child: Child) -> Iterator[None]:
        """Ctrl-C ends the run cleanly and still gives the report; the second one stops at once."""

        def interrupted(_number: int, _frame: types.FrameType | None) -> None:
            self._interrupted += 1
            self._live.phase = "stopping"
            (child.stop if self._interrupted == 1 and self._ledger.started else child.kill)()

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _wait_drained(self) -> None:
        expected = self._prediction.drained_after_s if self._prediction else None
        limit = (expected or 0.0) + DRAIN_MARGIN_S
        self._output.info(
            f"Waiting until it has drained: expected within about {expected or 0:.0f} s, at most {limit:.0f} s."
        )
        self._live.phase, began = "draining", time.time()
        with self._output.screen() as draw:
            while time.time() - began < limit:
                with self._taking:
                    seen = list(self._transitions)
                if drain(seen, self._ledger.records) is not None or not _grew(seen):
                    return
                draw(self._live.lines(time.time()))
                try:
                    time.sleep(1.0)
                except KeyboardInterrupt:
                    self._interrupted += 1
                    return
        self._note(f"It had not drained after {limit:.0f} s.")

    def _job(self, endpoint: Endpoint) -> dict[str, Any]:
        return {
            "prompts": list(self._settings.prompts),
            "headers": dict(endpoint.headers),
            "timeout_s": self._settings.timeout_s,
            "seed": self._settings.seed,
            "sample_folder": str((self._settings.folder / SAMPLES).resolve()),
            "ca_file": endpoint.ca_file,
        }

    def _finish(
        self, started: float, ended: float, warm: list[Record], facts: Probe, endpoint: Endpoint
    ) -> dict[str, Any]:
        plan = self._settings.plan
        run = Run(
            records=self._ledger.records,
            warmup=warm,
            transitions=self._transitions,
            started=started,
            load_ended=ended,
            ended=time.time(),
            plan=plan.describe(),
            mode=plan.mode,
            target=self._target.name,
            via=endpoint.via,
            prediction=self._prediction,
            scaling=self._scaling,
            objectives=self._settings.objectives,
            prices=self._settings.prices,
            notes=self._notes,
            settings=self._settings.told,
            clock_skew_s=facts.skew_s,
            tunnel_latency_s=facts.round_trip_s if endpoint.via == "tunnel" else None,
            interrupted=bool(self._interrupted),
        )
        summary = summarise(run)
        if self._results is not None:
            self._results.finish(summary, self._ledger.records, self._transitions)
            if self._results.trouble:
                self._note(f"{self._settings.folder}: {self._results.trouble}.")
                summary["notes"] = list(self._notes)
        return summary


def _grew(seen: Sequence[Transition]) -> bool:
    """Whether anything was added that has to go again."""
    return any(t.kind in ("replica", "ray_node", "pod") and not t.detail.get("baseline") for t in seen)


def _predicted(prediction: Prediction) -> str:
    if prediction.scales is None:
        return f"Prediction: none; {prediction.reason}."
    if not prediction.scales:
        return f"Prediction: it will not scale; {prediction.reason}."
    return (
        f"Prediction: {prediction.replicas} replicas, decided about {prediction.decided_after_s or 0:.0f} s after the "
        f"start ({prediction.reason})."
    )

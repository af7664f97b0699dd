"""One load test from its settings to its results: child, watchers, live screen, report."""

import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sdctl.errors import Interrupted, SdctlError
from sdctl.loadtest.child import Child
from sdctl.loadtest.live import Live
from sdctl.loadtest.plan import Plan, Stage
from sdctl.loadtest.prediction import told
from sdctl.loadtest.preflight import Facts, ask
from sdctl.loadtest.records import Ledger, Record
from sdctl.loadtest.recovery import drain, grew
from sdctl.loadtest.results import SAMPLES, Results
from sdctl.loadtest.room import remember
from sdctl.loadtest.salvage import began
from sdctl.loadtest.screen import shown
from sdctl.loadtest.settings import Settings
from sdctl.loadtest.summary import Run, summarise
from sdctl.loadtest.transitions import Transition
from sdctl.loadtest.watch import Watch
from sdctl.loadtest.watched import Watched, watch_of
from sdctl.output import Output
from sdctl.targets.base import Endpoint, Target

SCREEN_EVERY_S = 0.5
# On top of Serve's own delays: Ray's idle time, and on Kubernetes Karpenter's consolidation and the machine's end.
DRAIN_MARGIN_S = {"local": 90.0, "kubernetes": 900.0}


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
        self._watched = Watched()
        self._interrupted = 0
        self._drawing = False

    def run(self) -> dict[str, Any]:
        """Send the load, watch, and give the summary; raises SdctlError before anything is sent, never after."""
        with ExitStack() as stack:
            endpoint = stack.enter_context(self._target.endpoint())
            facts = ask(self._target, endpoint)
            self._results = Results(self._settings.folder)
            self._took(began(self._known(endpoint, facts), time.time()))
            if facts.busy is not False:
                seen = "was not idle" if facts.busy else "does not tell whether it is idle"
                self._note(f"The service {seen} before the run.")
            self._watched = watched = watch_of(self._target, self._settings.plan, stack, self._note)
            if watched.prediction is not None:
                self._output.info(told(watched.prediction))
            started = time.time()
            warm = self._warm_up(endpoint)
            watch = Watch(watched.watchers, self._took)
            watch.start()
            self._send(endpoint, self._settings.plan, self._ledger)
            ended = time.time()
            if self._settings.until_drained and watched.watchers and not self._interrupted:
                self._wait_drained()
            watch.stop()
        return self._finish(started, ended, warm, facts, endpoint)

    def _known(self, endpoint: Endpoint, facts: Facts) -> dict[str, Any]:
        """What a run that is killed leaves behind about itself."""
        return {
            "target": self._target.name,
            "plan": self._settings.plan.describe(),
            "mode": self._settings.plan.mode,
            "via": endpoint.via,
            "objectives": [objective.text for objective in self._settings.objectives],
            "prices": dict(self._settings.prices),
            "settings": dict(self._settings.told),
            "clocks": {name: skew.to_json() if skew else None for name, skew in facts.clocks.items()},
        }

    def _note(self, text: str) -> None:
        self._notes.append(text)
        if not self._drawing:  # a line in the middle of the screen would tear it; the result tells all notes
            self._output.info(text)

    def _took(self, change: Transition) -> None:
        with self._taking:
            self._transitions.append(change)
            if self._results is not None:
                self._results.transition(change)
            self._live.change(change)
        if change.kind == "watcher":
            lost = f" of: {change.detail['message']}" if change.what == "lost" else ""
            self._note(f"{change.name} {'is seen again' if change.what == 'back' else 'was lost sight'}{lost}")

    def _warm_up(self, endpoint: Endpoint) -> list[Record]:
        if not self._settings.warmup_s:
            return []
        ledger = Ledger()
        self._live.enter("warming up", time.time(), self._settings.warmup_s)
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
            self._live.started = time.time()
            self._live.enter("running", time.time(), plan.run_time_s)
        try:
            with self._interrupts(child), self._screen() as draw:
                self._show(reader, plan, draw)
            code = child.close()
            reader.join(timeout=10)
            for record in ledger.close():
                self._keep(record, ledger)
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
            if record is not None:
                self._keep(record, ledger)

    def _keep(self, record: Record, ledger: Ledger) -> None:
        if ledger is self._ledger and self._results is not None:  # the warm-up is no part of the result
            self._results.request(record)
            self._live.record(record, ledger.in_flight)

    @contextmanager
    def _screen(self) -> Iterator[Callable[[], None]]:
        self._drawing = self._output.live
        try:
            with shown(self._live, self._output) as draw:
                yield draw
        finally:
            self._drawing = False

    def _show(self, reader: threading.Thread, plan: Plan, draw: Callable[[], None]) -> None:
        while reader.is_alive():
            reader.join(timeout=SCREEN_EVERY_S)
            self._live.users = plan.users_at(time.time() - self._live.started)
            draw()

    @contextmanager
    def _interrupts(self, child: Child) -> Iterator[None]:
        """Ctrl-C ends the run cleanly and still gives the report; the second one stops at once."""

        def interrupted(_number: int, _frame: types.FrameType | None) -> None:
            self._interrupted += 1
            self._live.phase, self._live.ends = "stopping", None  # no lock: a signal may come while it is held
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
        prediction = self._watched.prediction
        expected = prediction.drained_after_s if prediction else None
        limit = (expected or 0.0) + DRAIN_MARGIN_S.get(self._target.name, 0.0)
        likely = "within a time that is not known" if expected is None else f"after about {expected:.0f} s"
        self._output.info(f"Waiting until it has drained: expected {likely}, at most {limit:.0f} s; Ctrl-C ends it.")
        began = time.time()
        self._live.enter("draining", began, expected)
        with self._screen() as draw:
            while time.time() - began < limit:
                with self._taking:
                    seen = list(self._transitions)
                if drain(seen, self._ledger.records) is not None or not grew(seen):
                    return
                draw()
                try:
                    time.sleep(SCREEN_EVERY_S)
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
        self, started: float, ended: float, warm: list[Record], facts: Facts, endpoint: Endpoint
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
            prediction=self._watched.prediction,
            scaling=self._watched.scaling,
            objectives=self._settings.objectives,
            prices=self._settings.prices,
            notes=self._notes,
            settings=self._settings.told,
            clocks=facts.clocks,
            tunnel_latency_s=facts.tunnel_s,
            tunnel_compared=facts.compared,
            interrupted=bool(self._interrupted),
        )
        summary = summarise(run)
        remember(self._target, summary["timeline"])
        if self._results is not None:
            self._results.finish(summary, self._ledger.records, self._transitions, self._settings.other)
            if self._results.trouble:
                self._note(f"{self._settings.folder}: {self._results.trouble}.")
                summary["notes"] = list(self._notes)
        return summary

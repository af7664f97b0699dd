"""The deployment that holds the model: loads it, proves it, and answers one job a call."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ray import serve

from serve_app.batching import Caps
from serve_app.config import ServiceConfig
from serve_app.engine import Answer, Engine, Origin
from serve_app.jobs import Description, ImageJob
from serve_app.metrics import GeneratorMetrics
from serve_app.routing import router_config

logger = logging.getLogger("ray.serve")


class Generator:
    """One replica. It exists only once it has drawn an image: Serve counts it as running no earlier."""

    def __init__(self, config: ServiceConfig) -> None:
        self._config = config
        self._phases: dict[str, float] = {}
        with self._phase("import"):
            from serve_app import pipeline, rehearsal
        with self._phase("load"):
            painter = pipeline.load(config)
        if config.compile != "off":
            with self._phase("compile"):
                rehearsal.compile_sizes(painter, config.compile_sizes, config.max_batch > 1)
        with self._phase("first_image"):
            job, alone = rehearsal.first_image(painter)
        if config.max_batch > 1 and config.check_batching:
            with self._phase("check_batching"):
                batches = rehearsal.batches_truly(painter, job, alone, painter.dtype)
            painter.profile = replace(painter.profile, batches=batches)
            if not batches:
                logger.warning("a batch changes this model's images: it runs one image a call")
        caps = Caps(config.max_batch, painter.profile.default_width * painter.profile.default_height)
        if config.profile_memory:
            with self._phase("profile"):
                caps = rehearsal.measured_caps(painter, config)
        profile, metrics, replica = painter.profile, GeneratorMetrics(), _replica_name()
        painter.observe = metrics.observe
        self._description = Description(replica, profile, self._phases, painter.device, config.max_batch)
        self._engine = Engine(painter, caps, Origin(replica, config.app_version, metrics.observe))
        logger.info("%s is ready: %s", profile.name, ", ".join(f"{k} {v:.2f} s" for k, v in self._phases.items()))

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._phases[name] = round(time.monotonic() - started, 3)

    async def generate(self, job: ImageJob, time_left_s: float) -> Answer:
        """The encoded image, or why there is none."""
        return await self._engine.submit(job, time_left_s)

    async def describe(self) -> Description:
        """What this replica runs, and how long it took to start."""
        return self._description

    def check_health(self) -> None:
        """Ends this process when a pipeline call has hung: Serve replaces it, and its requests are tried elsewhere.

        Nothing else ends such a call, and an error here would leave its callers waiting: Serve lets three of them pass.
        """
        silent_s = self._engine.silent_s()
        if silent_s > self._config.stall_timeout_s:
            logger.error("no step of the running call has finished for %.0f s: the replica ends itself", silent_s)
            os._exit(1)


def _replica_name() -> str:
    return str(serve.get_replica_context().replica_tag)


def deployment(config: ServiceConfig) -> Any:
    """The deployment as shipped; a manifest's `deployments` entry overrides its options."""
    return serve.deployment(
        name="Generator",
        max_ongoing_requests=2 * config.max_batch,
        request_router_config=router_config(),
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": 1,
            "target_ongoing_requests": config.max_batch,
        },
        health_check_period_s=5,
        health_check_timeout_s=15,  # three in a row: a frozen replica is ended well within a request's time
        logging_config={"enable_access_log": False},  # the service logs one line a request itself
        graceful_shutdown_timeout_s=config.max_timeout_s + 30,
    )(Generator)

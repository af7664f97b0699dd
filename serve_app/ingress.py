"""The deployment that speaks HTTP: puts the API on Serve and the generator's handle behind it."""

import asyncio
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RpcError, TaskCancelledError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve_app.api import make_api
from serve_app.config import ServiceConfig
from serve_app.errors import Refusal, ReplicaLost
from serve_app.gateway import Gateway
from serve_app.jobs import Description, ImageJob, Picture
from serve_app.keys import KeyRing
from serve_app.metrics import IngressMetrics
from serve_app.service import Service

GENERATOR = "Generator"
CONTROLLER_PATIENCE_S = 2.0
# What a call ends with when its replica is gone, or the node that kept its answer.
LOSSES = (
    *(RayActorError, TaskCancelledError, ObjectLostError, NodeDiedError, RpcError),
    DeploymentUnavailableError,
)


class ServeReplicas:
    """The generator behind its Serve handle; translates what Ray raises."""

    def __init__(self, handle: DeploymentHandle, application: str) -> None:
        self._handle = handle
        self._application = application
        self._counting: asyncio.Future[int | None] | None = None  # one at a time, however long the controller takes

    async def generate(self, job: ImageJob, time_left_s: float) -> Picture | Refusal:
        """Draw on some replica; cancelling it cancels the replica's work."""
        answer: Picture | Refusal = await self._call(self._handle.generate.remote(job, time_left_s))
        return answer

    async def describe(self) -> Description:
        """What some replica says of itself."""
        description: Description = await self._call(self._handle.describe.remote())
        return description

    async def running(self) -> int | None:
        """Generators that pass Serve's health check; None when the controller does not answer."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.ensure_future(asyncio.to_thread(self._count_running))
        done, _ = await asyncio.wait({self._counting}, timeout=CONTROLLER_PATIENCE_S)
        return self._counting.result() if done else None

    def _count_running(self) -> int | None:
        try:
            application = serve.status().applications[self._application]
            states = application.deployments[GENERATOR].replica_states
        except (RayError, RayServeException, KeyError):
            return None
        return int(states.get("RUNNING", 0))

    async def _call(self, response: Any) -> Any:
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except LOSSES as error:
            raise ReplicaLost from error


class Ingress:
    """One HTTP replica."""

    def __init__(self, generator: DeploymentHandle, config: ServiceConfig) -> None:
        keys = KeyRing(config.key_folder) if config.auth == "keys" else None
        application = serve.get_replica_context().app_name
        gateway = Gateway(ServeReplicas(generator, application), config)
        self._service = Service(gateway, keys, IngressMetrics().answered, names_requests=False)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_api(self._service)


def deployment(config: ServiceConfig) -> Any:
    """The deployment as shipped; a manifest's `deployments` entry overrides its options."""
    return serve.deployment(
        name="Ingress",
        max_ongoing_requests=max(1000, 2 * config.max_in_flight),
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},  # the service logs one line a request itself
        graceful_shutdown_timeout_s=config.max_timeout_s + 30,
    )(serve.ingress()(Ingress))

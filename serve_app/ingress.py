"""The deployment that speaks HTTP: puts the API on Serve and the generator's handle behind it."""

import asyncio
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RpcError, TaskCancelledError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve_app import routers
from serve_app.api import make_api
from serve_app.config import ServiceConfig
from serve_app.errors import Refusal, ReplicaLost
from serve_app.gateway import Gateway
from serve_app.jobs import Description, ImageJob, Picture
from serve_app.keys import KeyRing
from serve_app.metrics import IngressMetrics
from serve_app.service import Service

# What a call ends with when its replica is gone, or the node that kept its answer.
LOSSES = (
    *(RayActorError, TaskCancelledError, ObjectLostError, NodeDiedError, RpcError),
    DeploymentUnavailableError,
)


class ServeReplicas:
    """The generator behind its Serve handle; translates what Ray raises."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = handle

    async def generate(self, job: ImageJob, time_left_s: float) -> Picture | Refusal:
        """Draw on some replica; cancelling it cancels the replica's work."""
        answer: Picture | Refusal = await self._call(self._handle.generate.remote(job, time_left_s))
        return answer

    async def describe(self) -> Description:
        """What some replica says of itself."""
        description: Description = await self._call(self._handle.describe.remote())
        return description

    def running(self) -> int | None:
        """Generators that pass Serve's health check, as Serve last told the handle; None before the first call."""
        return routers.replicas()

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
        gateway = Gateway(ServeReplicas(generator), config)
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

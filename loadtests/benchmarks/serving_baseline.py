"""The baseline: a text-to-image application as those that this project replaces are built, in words of our own.

One image a call, whatever Serve's default concurrency lets into the one pipeline, and PNG encoding in the ingress.
"""

import asyncio
import io
import json
import time
from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle

api = FastAPI()


class BaselineArgs(BaseModel):
    """`args` of the application; `max_ongoing_requests` None: Serve's default, as the originals have it."""

    model: str
    device: str = "cpu"
    dtype: str = "float32"
    steps: int = 10
    guidance: float = 1.8
    max_ongoing_requests: int | None = None


class Model:
    """Holds the pipeline; Serve runs this plain method in as many threads as requests may be ongoing."""

    def __init__(self, args: BaselineArgs) -> None:
        import torch
        from diffusers import DiffusionPipeline, EulerDiscreteScheduler

        torch.set_num_threads(1)
        self._args = args
        pipe = DiffusionPipeline.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
        pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)  # as theirs; it counts its steps
        self._pipe = pipe.to(args.device)
        self._pipe.set_progress_bar_config(disable=True)

    def generate(self, prompt: str, side: int, steps: int) -> Any:
        """One picture, as PIL."""
        return self._pipe(
            prompt, height=side, width=side, num_inference_steps=steps, guidance_scale=self._args.guidance
        ).images[0]

    async def echo(self, size: int) -> bytes:
        """So many bytes at once: what a call by handle costs."""
        return bytes(size)


@serve.ingress(api)
class Front:
    """The HTTP side."""

    def __init__(self, model: DeploymentHandle, args: BaselineArgs) -> None:
        self._model = model
        self._args = args

    @api.get("/imagine")
    async def imagine(self, prompt: str, img_size: int = 512, num_inference_steps: int = 0) -> Response:
        """A PNG. The originals have no number of steps: it is here so that the same mix can be asked for."""
        assert prompt
        image = await self._model.generate.remote(prompt, img_size, num_inference_steps or self._args.steps)
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=1)  # theirs take the default level, twice as slow
        return Response(content=buffer.getvalue(), media_type="image/png")

    @api.get("/hop")
    async def hop(self, size: int, count: int) -> Response:
        """Milliseconds of `count` calls by handle, one after the other, each answered with so many bytes."""
        taken = []
        for _ in range(count):
            start = time.monotonic()
            await self._model.echo.remote(size)
            taken.append((time.monotonic() - start) * 1000)
            await asyncio.sleep(0.01)
        return Response(content=json.dumps(taken), media_type="application/json")


def build(args: BaselineArgs) -> Any:
    """The application."""
    limit = {} if args.max_ongoing_requests is None else {"max_ongoing_requests": args.max_ongoing_requests}
    share = {"num_cpus": 0, "num_gpus": 0.1 if args.device == "cuda" else 0}  # Ray hides the GPU from those without one
    model = serve.deployment(name="Model", ray_actor_options=share, **limit)(Model)
    front = serve.deployment(name="Front", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1000)(Front)
    return front.bind(model.bind(args), args)

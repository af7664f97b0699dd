"""What the routes of every dialect share: who calls, one way to a picture, one log line and count a request."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from serve_app import front
from serve_app.errors import Refusal
from serve_app.gateway import Gateway
from serve_app.jobs import Picture
from serve_app.keys import KeyRing
from serve_app.links import Links
from serve_app.resolve import Call, check_cost, resolve
from serve_app.schemas import MAX_SEED, ImageRequest

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Service:
    """The service behind one HTTP replica."""

    gateway: Gateway
    keys: KeyRing | None  # None: open to everyone
    answered: Callable[[str, str], None]  # an error's code or "ok", and the tenant
    links: Links = field(default_factory=Links)
    names_requests: bool = True  # False where what carries the answer adds X-Request-Id itself, as Serve does

    def open(self, request: Request) -> Call:
        """Who asks, and for how long; raises ServiceError (401, 400)."""
        return front.open_call(request, self.gateway.config, self.keys)

    async def make(self, asked: ImageRequest, call: Call, count: int = 1) -> list[Picture]:
        """So many pictures, with seeds that count on from the first; raises ServiceError, then nothing is left."""
        first = resolve(asked, self.gateway.profile, call)
        check_cost(first, count, self.gateway.config.max_cost)
        seeds = ((first.seed + index) % (MAX_SEED + 1) for index in range(count))
        wishes = [asked.model_copy(update={"seed": seed}) for seed in seeds]
        tasks = [asyncio.ensure_future(self._make_one(wish, call)) for wish in wishes]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _make_one(self, asked: ImageRequest, call: Call) -> Picture:
        started = time.monotonic()
        picture = await self.gateway.make(asked, call)
        receipt = picture.receipt
        logger.info(
            "request %s of %s: %s at %dx%d, %d steps, batch of %d, %.0f ms",
            *(call.request_id, call.tenant, self._named(asked.prompt), receipt.width, receipt.height),
            *(receipt.num_inference_steps, receipt.batch_size, (time.monotonic() - started) * 1000),
        )
        self.answered("ok", call.tenant)
        return picture

    def refused(self, request: Request, refusal: Refusal) -> None:
        """Note an answer without an image."""
        tenant = getattr(request.state, "tenant", "")
        logger.info("request %s of %s: %d %s", request.state.request_id, tenant, refusal.status, refusal.code)
        self.answered(refusal.code, tenant)

    def _named(self, prompt: str) -> str:
        """A prompt in the log: its text only where the operator asked for that."""
        if self.gateway.config.log_prompts:
            return repr(prompt)
        digest = hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return f"a prompt of {len(prompt)} characters ({digest})"

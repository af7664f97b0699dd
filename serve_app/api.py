"""The HTTP application: routes of every dialect, errors in one shape, safe headers; no Ray in it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app import documents, front, reference
from serve_app.dialects import imagine, openai
from serve_app.errors import Refusal, ServiceError, place_of
from serve_app.schemas import HEADER_REQUEST_ID, HEADER_TIMEOUT, ErrorBody, ErrorDetail
from serve_app.service import Service

logger = logging.getLogger("ray.serve")

DIALECTS = (imagine, openai)  # a further one is its file and its name here
HTTP_CODES = {404: ("not_found", "There is no such route."), 405: ("method_not_allowed", "Not by this method.")}


def make_api(service: Service) -> FastAPI:
    """The application for one ingress replica; its lifespan keeps the health state fresh."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(service.gateway.watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    config = service.gateway.config
    api = Api(
        title="sdctl",
        summary="Text to image",
        version=config.app_version,
        lifespan=lifespan,
        redirect_slashes=False,  # behind a load balancer they would lead from https to http, with the prompt
        docs_url=None,  # FastAPI's pages load scripts from a content network
        redoc_url=None,
    )
    api.state.service = service
    for dialect in DIALECTS:
        api.include_router(dialect.router)
    api.add_api_route("/healthz", _health, methods=["GET"], responses=documents.HEALTH)
    api.add_api_route("/docs", _docs, methods=["GET"], include_in_schema=False)
    api.add_exception_handler(ServiceError, _on_service_error)
    api.add_exception_handler(HTTPException, _on_http_error)
    api.add_middleware(Envelope, service=service)
    if config.cors_origins:
        api.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", HEADER_TIMEOUT, HEADER_REQUEST_ID],
            expose_headers=list(documents.PICTURE_HEADERS),
        )
    return api


class Api(FastAPI):
    """The application, whose document is true: FastAPI's knows neither our keys nor our errors."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            self.openapi_schema = documents.finished(super().openapi(), keys=self.state.service.keys is not None)
        return self.openapi_schema


async def _docs(request: Request) -> HTMLResponse:
    """The document, readable."""
    return HTMLResponse(reference.page(request.app.openapi()), headers={"Content-Security-Policy": reference.POLICY})


async def _health(request: Request) -> JSONResponse:
    """Whether a replica can make images; needs no key."""
    status, body = request.app.state.service.gateway.health()
    return JSONResponse(body, status)


def error_response(refusal: Refusal) -> JSONResponse:
    """The documented error."""
    detail = ErrorDetail(message=refusal.message, type=refusal.type, param=refusal.param, code=refusal.code)
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    if refusal.status == 408:
        headers["Connection"] = "close"  # the rest of the body may still come, and must not be read as a request
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(ErrorBody(error=detail).model_dump(), refusal.status, headers)


async def _on_service_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)
    request.app.state.service.refused(request, error.refusal)
    return error_response(error.refusal)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code, message = HTTP_CODES.get(error.status_code, ("http_error", str(error.detail)))
    response = error_response(Refusal(error.status_code, code, message))
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(sorted(_allowed(request))) or response.headers.get("Allow", "GET")
    return response


def _allowed(request: Request) -> set[str]:
    """The methods that the request's path has; Starlette names those of one route only."""
    routes = (route for dialect in DIALECTS for route in dialect.router.routes if isinstance(route, Route))
    return {
        name for route in routes if route.matches(request.scope)[0] is not Match.NONE for name in route.methods or ()
    }


class Envelope:
    """Around every answer: a request id, safe headers, and a 500 in our shape for what nobody expected."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = front.request_id(Request(scope).headers)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                if self._service.names_requests:
                    headers[HEADER_REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
                if "tenant" in scope["state"]:
                    headers.update(self._service.gateway.quota.headers(scope["state"]["tenant"]))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            logger.error("request %s failed: %s", request_id, place_of(error))
            if started:
                raise
            refusal = Refusal(500, "internal_error", f"The service failed; its log has the cause under {request_id}.")
            await error_response(refusal)(scope, receive, send_with_headers)

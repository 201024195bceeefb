"""The addresses of TensorFlow Serving's REST API, and what each answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tf_simclrv2.serving.batcher import Batcher
from tf_simclrv2.serving.held_bodies import HeldBodies
from tf_simclrv2.serving.predict_answer import answer_of
from tf_simclrv2.serving.predict_request import RequestLimits, parse_request
from tf_simclrv2.serving.refusal import BUSY, NOT_FOUND, TIMED_OUT, TOO_LARGE, UNSUPPORTED, Refusal
from tf_simclrv2.serving.serve_config import ServeConfig
from tf_simclrv2.serving.served_model import ModelVersion, ServedModel

# Seconds that a client may take for the next part of a body; without an end, it would also hold up the
# server's.
SILENCE = 10.0
# Bytes a second that a body must reach on the whole; a memory of bodies is limited, too.
SLOWEST = 50_000
PARSERS = 2
_LOG = logging.getLogger(__name__)
_AVAILABLE = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}


class _ModelName(Convertor[str]):
    """A part of an address that ends at a slash or a colon."""

    regex = "[^/:]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Version(Convertor[int]):
    """Digits, no more than an integer of 64 bits has."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("model_name", _ModelName())
register_url_convertor("model_version", _Version())


class RestApi:
    """Answers requests about a model.

    Args:
        model: What is served.
        config: Limits of requests, and how they are computed together.

    Attributes:
        app: The ASGI application. It computes while its lifespan lasts.

    Example:
        >>> uvicorn.run(RestApi(model, config).app)
    """

    def __init__(self, model: ServedModel, config: ServeConfig) -> None:
        self._model = model
        self._config = config
        self._limits = RequestLimits(config.max_images, config.max_pixels)
        self._bodies = HeldBodies(config.max_held)
        # Reading and writing JSON takes milliseconds, in which the event loop must keep running.
        # Python does one at a time, and each holds a body's numbers as objects.
        self._threads = ThreadPoolExecutor(PARSERS, thread_name_prefix="json")
        base = "/v1/models/{name:model_name}"
        versioned = base + "/versions/{version:model_version}"
        self.app = Starlette(
            routes=[
                Route("/healthz", self._health),
                *(Route(path, self._status) for path in (base, versioned)),
                *(Route(f"{path}/metadata", self._metadata) for path in (base, versioned)),
                *(Route(f"{path}:predict", self._predict, methods=["POST"]) for path in (base, versioned)),
            ],
            exception_handlers={
                Refusal: _refused,
                HTTPException: _not_routed,
                ClientDisconnect: _gone,
                Exception: _failed,
            },
            lifespan=self._lifespan,
        )
        self.app.router.redirect_slashes = False

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with Batcher(self._config.batch_size, self._config.batch_timeout / 1000) as self._batcher:
            yield
        self._threads.shutdown()

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _status(self, request: Request) -> Response:
        if "version" in request.path_params:
            numbers = [self._version(request).number]
        else:
            self._check_name(request)
            numbers = sorted(self._model.versions, reverse=True)
        return JSONResponse(
            {"model_version_status": [{"version": str(number), **_AVAILABLE} for number in numbers]}
        )

    async def _metadata(self, request: Request) -> Response:
        version = self._version(request)
        spec = {"name": self._model.name, "signature_name": "", "version": str(version.number)}
        definitions = {"signature_def": version.signature_defs}
        return JSONResponse({"model_spec": spec, "metadata": {"signature_def": definitions}})

    async def _predict(self, request: Request) -> Response:
        version = self._version(request)
        with self._bodies.request() as hold:
            body = await _body(request, self._config.max_body, hold)
            asked = await self._in_thread(parse_request, body, version, self._limits)
            outputs = await self._batcher.compute(asked.signature, asked.inputs)
            answer = await self._in_thread(answer_of, outputs, asked.by_rows)
        return Response(answer, media_type="application/json")

    def _version(self, request: Request) -> ModelVersion:
        self._check_name(request)
        return self._model.version(request.path_params.get("version"))

    def _check_name(self, request: Request) -> None:
        name = request.path_params["name"]
        if name != self._model.name:
            raise Refusal(f"model {name!r} is not served; this server has {self._model.name!r}.", NOT_FOUND)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *arguments))


async def _body(request: Request, most: int, hold: Callable[[int], None]) -> bytes:
    """Reads a body, unless it is or becomes too large, or `hold` has no room for it."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Refusal(f"the body is encoded as {encoding}; send it as it is.", UNSUPPORTED)
    if int(request.headers.get("content-length", 0)) > most:
        raise _too_large(most)
    parts, size, stream, begin = [], 0, request.stream(), time.monotonic()
    while (part := await _next_part(stream)) is not None:
        size += len(part)
        if size > most:
            raise _too_large(most)
        if time.monotonic() - begin > SILENCE + size / SLOWEST:
            raise Refusal(
                f"the body comes at less than {SLOWEST} bytes per second; send it faster.", TIMED_OUT
            )
        hold(len(part))
        parts.append(part)
    return b"".join(parts)


async def _next_part(stream: AsyncGenerator[bytes, None]) -> bytes | None:
    try:
        return await asyncio.wait_for(anext(stream, None), SILENCE)
    except TimeoutError as error:
        raise Refusal(
            f"the rest of the body did not arrive within {SILENCE:g} seconds; send the request again.",
            TIMED_OUT,
        ) from error


def _too_large(most: int) -> Refusal:
    return Refusal(
        f"the body is larger than {most} bytes; send fewer examples, or start the server with a larger "
        "--max_body.",
        TOO_LARGE,
    )


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    later = {"Retry-After": "1"} if refusal.status == BUSY else None
    return JSONResponse({"error": str(refusal)}, refusal.status, later)


async def _not_routed(request: Request, error: Exception) -> Response:
    """An address that there is not, or a method that it does not have."""
    assert isinstance(error, HTTPException)
    # Not request.url, which cannot be made of every header.
    sentence = f"{request.method} {request.scope['path']} is not a request that this server supports"
    allowed = (error.headers or {}).get("Allow", "")
    cure = (
        "use POST"
        if "POST" in allowed
        else "use GET"
        if allowed
        else "see /v1/models/NAME, or POST to /v1/models/NAME:predict"
    )
    return JSONResponse({"error": f"{sentence}; {cure}."}, error.status_code, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Nobody reads this."""
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return JSONResponse({"error": f"the server failed ({type(error).__name__}); see its log."}, 500)

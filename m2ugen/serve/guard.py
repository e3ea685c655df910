"""What stands before every route: keys, origins, hosts, the size of requests, headers, logs and counters."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m2ugen.serve.logs import log
from m2ugen.serve.metrics import Metrics
from m2ugen.serve.schemas import error_body
from m2ugen.serve.settings import Settings

OPEN_PATHS = ("/", "/healthz", "/readyz", "/openapi.json", "/favicon.ico")
OPEN_FOLDER = "/page/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


class Guard:
    """ASGI middleware. Refuses what may not come in, before anything of it is read."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self._keys = [_digest(key) for key in settings.api_keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        start, status = time.monotonic(), 500
        body = _Body(receive, self.settings)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                if body.problem is not None:
                    raise _Replaced
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self.app(scope, body.receive, answer)
        except Exception as error:
            if body.problem is None:
                log("defect", level="error", error=type(error).__name__)
                refusal = (500, "internal", "the request could not be carried out; this is our fault")
                if status != 500:  # the answer has begun; nothing can be added
                    raise
        refusal = body.problem or refusal
        if refusal is not None:
            status = refusal[0]
            await _refuse(send, *refusal)
        route = getattr(scope.get("route"), "path", "none")
        self.metrics.requests.labels(route, str(status)).inc()
        log("request", method=scope["method"], route=route, status=status, ms=round(1000 * (time.monotonic() - start)))

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, code and message when the request is not let in."""
        headers, settings = Headers(scope=scope), self.settings
        host = headers.get("host", "")
        if settings.hosts and _name(host) not in settings.hosts:
            return 403, "wrong_host", "this server is not to be called by that name"
        origin = headers.get("origin")
        own = origin is not None and urlsplit(origin).netloc == host
        if origin is not None and not own and origin not in settings.origins and scope["method"] not in SAFE_METHODS:
            return 403, "wrong_origin", "pages from elsewhere may not use this server"
        if self._keys and not is_open(scope["path"]) and scope["method"] != "OPTIONS" and not self._has_key(headers):
            return 401, "invalid_api_key", "an API key is needed: Authorization: Bearer KEY"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > settings.limits.body_bytes:
            return 413, "too_large", f"requests may have {settings.limits.body_bytes >> 20} MiB"
        return None

    def _has_key(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return False
        digest = _digest(given.strip())
        return any([hmac.compare_digest(digest, key) for key in self._keys])  # noqa: C419  as long for every key


class _Replaced(Exception):
    """The app's answer is not sent, as the request has been refused meanwhile."""


class _Body:
    """A request's body with a limit of bytes and of time."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive, self._limits = receive, settings.limits
        self._end = time.monotonic() + settings.limits.upload_seconds
        self._size, self._complete = 0, False
        self.problem: tuple[int, str, str] | None = None

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # only tells that the caller goes away
        try:
            message = await asyncio.wait_for(self._receive(), max(self._end - time.monotonic(), 0.001))
        except TimeoutError:
            self.problem = (408, "too_slow", "the request took too long to arrive")
            raise
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > self._limits.body_bytes:
            self.problem = (413, "too_large", f"requests may have {self._limits.body_bytes >> 20} MiB")
            raise ValueError("the request is too large")
        return message


def is_open(path: str) -> bool:
    """Whether ``path`` may be had without a key: the page itself, the schema, and whether the server lives."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rsplit("]", 1)[0] + "]" if host.startswith("[") else host.partition(":")[0].lower()


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps(error_body(status, code, message)).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

"""What every request passes before it reaches the application: limits, the key, headers."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware.

    most_bytes: of a body; more is 413. body_seconds: for a body to arrive; longer is 408.
    api_key: that requests to /v1 have to bring as `Authorization: Bearer KEY` or `X-API-Key: KEY`,
        else 401; None for no key. refused: is told path and status of each refusal.
    """

    def __init__(
        self,
        app: App,
        *,
        most_bytes: int,
        body_seconds: float,
        api_key: str | None = None,
        refused: Callable[[str, int], None] = lambda path, status: None,
    ) -> None:
        self.app, self.most_bytes, self.body_seconds = app, most_bytes, body_seconds
        self.api_key, self.refused = api_key, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, whole, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = {name.lower(): value for name, value in scope["headers"]}
        if scope["path"].startswith("/v1/") and not self._has_key(headers):
            wanted = (
                "This service asks for a key: send Authorization: Bearer KEY or X-API-Key: KEY."
            )
            await self._refuse(scope, send, 401, wanted, {"www-authenticate": "Bearer"})
            return
        too_large = f"The body has more than {self.most_bytes:,} bytes: send fewer texts at a time."
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.most_bytes:
            await self._refuse(scope, send, 413, too_large)
            return
        try:
            body = await asyncio.wait_for(self._body(receive), self.body_seconds)
        except asyncio.TimeoutError:
            slow = f"The body did not arrive within {self.body_seconds:g} seconds."
            await self._refuse(scope, send, 408, slow)
            return
        if body is None:
            return
        if len(body) > self.most_bytes:
            await self._refuse(scope, send, 413, too_large)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _refuse(
        self,
        scope: Scope,
        send: Send,
        status: int,
        detail: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.refused(scope["path"], status)
        await refuse(send, status, detail, headers)

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        if self.api_key is None:
            return True
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token
        # In constant time: how long it takes tells nothing of how much was right.
        return hmac.compare_digest(given, self.api_key.encode())

    async def _body(self, receive: Receive) -> bytes | None:
        """The body, at most a little more than `most_bytes` of it; None of a client that left."""
        body = bytearray()
        while len(body) <= self.most_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that has been read, then what comes after it."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_headers(send: Send) -> Send:
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *added]
        await send(message)

    return sending


async def refuse(
    send: Send, status: int, detail: str, headers: dict[str, str] | None = None
) -> None:
    """Answer with a sentence, as the application does, and close the connection."""
    body = json.dumps({"detail": detail}).encode()
    given = {
        **{"content-type": "application/json", "content-length": str(len(body))},
        **{"connection": "close"},
        **(headers or {}),
    }
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

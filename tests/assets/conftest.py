"""A web server on the loopback, and no way out of this machine."""

import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Answer:
    data: bytes
    promised: int
    headers: dict[str, str]
    delay: float


class Server:
    """What a test serves is there; all else is not found."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    def serve(self, path, data, *, promised=None, headers=None, delay=0.0) -> None:
        """path: where. promised: the length to announce, if another one. delay: in seconds."""
        length = len(data) if promised is None else promised
        self.answers[path] = Answer(data, length, headers or {}, delay)


@pytest.fixture
def server(monkeypatch):
    web = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            web.asked.append(f"{self.command} {self.path}")
            answer = web.answers.get(self.path)
            if answer is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")  # as the hub says it
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            time.sleep(answer.delay)
            self.send_response(200)
            self.send_header("Content-Length", str(answer.promised))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.data)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.handle_error = lambda *args: None  # a client that hangs up is what tests want
    web.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield web
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_way_out(monkeypatch):
    """Nothing but the loopback can be reached, and the user's own settings do not count."""
    for variable in (
        "GMB_NER_CORPUS",
        "GMB_NER_MINILM",
        "GMB_NER_BERT",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
    ):
        monkeypatch.delenv(variable, raising=False)
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self, address):
        if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1"}:
            raise OSError(f"a test wants to reach {address}")
        return connect(self, address)

    def guarded_resolve(host, *args, **kwargs):
        if host not in {"127.0.0.1", "localhost"}:
            raise socket.gaierror(f"a test wants to reach {host}")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_resolve)


@pytest.fixture
def listing():
    """All that lies in a folder, hidden files too: what a failure must leave as it was."""

    def names(folder: Path) -> list[str]:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))

    return names

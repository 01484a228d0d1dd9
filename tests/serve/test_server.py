"""The service as a process: slow clients, floods, and an end that loses nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import schemathesis
import spacy
from hypothesis import HealthCheck, given, settings

TEXT = "Ada Lin met Kenyan officials in Oslo on Monday. "


def post(address, body, timeout=30):
    request = urllib.request.Request(
        f"{address}/v1/entities",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def connect(address):
    found = urlsplit(address)
    return socket.create_connection((found.hostname, found.port), timeout=10)


def test_a_slow_client_is_told_and_holds_nobody_up(address):
    with connect(address) as slow:
        head = "POST /v1/entities HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n"
        slow.sendall(f"{head}content-length: 100\r\n\r\n".encode() + b'{"text"')
        started = time.monotonic()
        assert post(address, {"text": "Oslo"})[0] == 200
        assert time.monotonic() - started < 1
        answer = b"".join(iter(lambda: slow.recv(4096), b"")).decode()  # until it is closed
    assert answer.startswith("HTTP/1.1 408 ")
    assert "did not arrive within 1 seconds" in answer


def test_five_megabytes_are_refused_before_they_are_read(address):
    found = urlsplit(address)
    connection = HTTPConnection(found.hostname, found.port, timeout=10)
    connection.putrequest("POST", "/v1/entities")
    connection.putheader("content-length", str(5_000_000))
    connection.endheaders()  # and nothing of the body
    response = connection.getresponse()
    assert response.status == 413
    assert "more than 200,000 bytes" in json.loads(response.read())["detail"]


def test_a_body_of_unknown_length_is_cut_off_too(address):
    with connect(address) as endless:
        head = "POST /v1/entities HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
        endless.sendall(head.encode())
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        for _ in range(14):
            endless.sendall(chunk)
        assert endless.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_ten_thousand_texts(address):
    status, answer = post(address, {"text": ["a"] * 10_000})
    assert status == 413 and answer["detail"].startswith("10,000 texts: send at most 20")


def test_it_is_as_it_is_described(patient):
    """Requests that the description allows, and others, get answers that it allows."""
    schema = schemathesis.openapi.from_url(f"{patient}/openapi.json")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert {operation.path for operation in operations} == {
        *("/v1/entities", "/v1/model", "/healthz", "/readyz")
    }
    for operation in operations:
        modes = list(schemathesis.GenerationMode)
        for mode in modes if operation.method == "post" else [schemathesis.GenerationMode.POSITIVE]:

            @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode))
            def check(case):
                case.call_and_validate()

            check()


@pytest.fixture
def process(tmp_path):
    """The command on a trained pipeline's folder, and the address that it tells."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler", name="ner").add_patterns([{"label": "geo", "pattern": "Oslo"}])
    nlp.to_disk(tmp_path / "model")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "gmb_ner", "serve", "--model", str(tmp_path / "model")]
    with log.open("wb") as output:
        running = subprocess.Popen(
            [*command, "--port", "0", "--waiting-chars", "10000000"],
            stdout=output, stderr=output, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    until = time.monotonic() + 60
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(encoding="utf-8"))):
        assert running.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    yield running, found[0], log
    running.kill()
    running.wait()


def test_sigterm_under_load_loses_no_request_that_was_accepted(process):
    running, address, log = process
    statuses, refused = [], []

    def client():
        for _ in range(200):
            try:
                statuses.append(post(address, {"text": [TEXT * 20] * 10})[0])
            except (ConnectionError, urllib.error.URLError) as error:
                reason = getattr(error, "reason", error)
                refused.append(type(reason))
                return

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    while len(statuses) < 20:
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    for one in clients:
        one.join(60)
    assert running.wait(30) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
    assert set(statuses) == {200}
    # Those who came later found nobody; nobody was cut off in the middle of an answer.
    assert set(refused) <= {ConnectionRefusedError, ConnectionResetError}
    assert TEXT not in log.read_text(encoding="utf-8")


def test_a_model_that_is_not_there():
    command = [sys.executable, "-m", "gmb_ner", "serve", "--model", "en_nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "en_nowhere cannot be loaded" in " ".join((done.stdout + done.stderr).split())

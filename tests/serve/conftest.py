"""A pipeline that knows a few names and is surer of some, and a service of it."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import spacy
import uvicorn
from spacy.language import Language
from spacy.tokens import SpanGroup

from gmb_ner.pipeline.entities import register_confidence
from gmb_ner.serve.app import create_app
from gmb_ner.serve.messages import Limits

NAMES = {"per": ["Ada Lin"], "geo": ["Oslo", "Nairobi"], "gpe": ["Kenyan"], "tim": ["Monday"]}
PATTERNS = [{"label": label, "pattern": name} for label, names in NAMES.items() for name in names]
LIMITS = Limits(text_chars=2_000, texts=20, body_bytes=200_000, body_seconds=1, seconds=5)


@Language.component("surer_of_places")
def surer_of_places(doc):
    scores = np.array([0.9 if ent.label_ == "geo" else 0.5 for ent in doc.ents])
    doc.spans["ner"] = SpanGroup(doc, name="ner", spans=doc.ents, attrs={"scores": scores})
    return doc


def make_pipeline():
    register_confidence()
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler", name="ner").add_patterns(PATTERNS)
    nlp.add_pipe("surer_of_places")
    return nlp


@pytest.fixture(scope="session")
def pipeline():
    return make_pipeline()


@contextlib.contextmanager
def serving(nlp, limits=LIMITS, api_key=None):
    """The address of a service that runs in a thread."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(create_app(nlp, limits, api_key), port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def patient(pipeline):
    """A service with the usual limits, which a busy machine does not exceed."""
    with serving(pipeline, Limits()) as address:
        yield address


@pytest.fixture(scope="session")
def address(pipeline):
    with serving(pipeline) as address:
        yield address

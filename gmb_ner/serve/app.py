"""The HTTP service: entities of texts, what the model is, whether it is well; and its page."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from spacy.language import Language
from starlette.exceptions import HTTPException as StarletteHTTPException

import gmb_ner
from gmb_ner.errors import InputError
from gmb_ner.pipeline.labels import LABELS
from gmb_ner.serve.answers import SCHEMES, answer, named
from gmb_ner.serve.batching import Batcher, BusyError
from gmb_ner.serve.guard import Guard
from gmb_ner.serve.messages import EXAMPLE, Answers, Asked, Limits, Problem

DEFAULT_LIMITS = Limits()
STATIC = {"app.js": "text/javascript", "app.css": "text/css"}


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in codes}


def name_of(nlp: Language) -> str:
    """Name and version as of a wheel; of a folder that was never packaged, the folder's name."""
    if nlp.path is not None and nlp.meta["name"] == "pipeline":  # spaCy's for those without
        return nlp.path.name
    return f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"


def create_app(
    nlp: Language,
    limits: Limits = DEFAULT_LIMITS,
    api_key: str | None = None,
) -> FastAPI:
    """Create the application (ASGI).

    nlp: a pipeline; its own threshold stays the lowest. api_key: see `guard.Guard`.
    Raises InputError for texts longer than the pipeline reads.
    """
    if limits.text_chars > nlp.max_length:
        raise InputError(
            f"Texts of {limits.text_chars:,} characters are more than the pipeline reads at once: "
            f"allow {nlp.max_length:,} at most."
        )
    name = name_of(nlp)
    registry = CollectorRegistry()
    requests = Counter("gmb_ner_requests", "Requests", ["path", "status"], registry=registry)
    seconds = Histogram("gmb_ner_seconds", "From request to answer", ["path"], registry=registry)
    texts_read = Counter("gmb_ner_texts", "Texts read", registry=registry)
    found = Counter("gmb_ner_entities", "Entities answered", ["label"], registry=registry)
    together = Histogram(
        "gmb_ner_batch_texts", "Texts read together", buckets=(1, 2, 4, 8, 16, 32, 64, 128),
        registry=registry,
    )  # fmt: skip
    batcher = Batcher(
        nlp,
        batch_size=limits.batch_size,
        most_waiting=limits.waiting_chars,
        read=together.observe,
    )
    waiting = Gauge("gmb_ner_waiting_chars", "Characters waiting", registry=registry)
    waiting.set_function(lambda: batcher.waiting)
    labels = list(nlp.pipe_labels.get("ner", [])) or sorted(
        {label for labels in nlp.pipe_labels.values() for label in labels}
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        await batcher.entities([EXAMPLE])  # what is loaded on first use is loaded now
        yield
        await batcher.stop()

    app = FastAPI(
        title="gmb-ner",
        version=gmb_ner.__version__,
        description=f"Named entities of texts, by {name}.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.middleware("http")
    async def observe(request: Request, call_next: Any) -> Response:
        started, status = time.perf_counter(), 500  # which is the answer if this raises
        try:
            response: Response = await call_next(request)
            status = response.status_code
            return response
        finally:
            route = request.scope.get("route")
            path = getattr(route, "path", "other")  # not what was asked, which anyone can invent
            requests.labels(path, status).inc()
            seconds.labels(path).observe(time.perf_counter() - started)

    app.add_middleware(
        Guard,
        most_bytes=limits.body_bytes,
        body_seconds=limits.body_seconds,
        api_key=api_key,
        # Of paths only those that are ours, as anyone can invent others.
        refused=lambda path, status: requests.labels(
            path if path in {getattr(route, "path", "") for route in app.routes} else "other",
            status,
        ).inc(),
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input, which would send a text of a megabyte back.
        first = error.errors()[0]
        if first["loc"] == ("body",) or first["type"] == "json_invalid":
            example = 'application/json and {"text": "..."}'
            return JSONResponse({"detail": f"The body is no JSON object: send {example}."}, 422)
        place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        # What Starlette itself refuses says no more than the name of the status.
        hints = {
            404: "There is nothing at this path: /openapi.json lists what there is.",
            405: f"{request.method} is not what this path takes: see /openapi.json.",
        }
        bare = error.detail == HTTPStatus(error.status_code).phrase
        detail = hints.get(error.status_code, error.detail) if bare else error.detail
        return JSONResponse({"detail": detail}, error.status_code, headers=error.headers)

    @app.post("/v1/entities", responses=_problems(400, 401, 408, 413, 422, 503))
    async def entities(asked: Asked) -> Answers:
        """Find the entities of texts."""
        texts = [asked.text] if isinstance(asked.text, str) else asked.text
        _check_size(texts, limits)
        try:
            answered = await asyncio.wait_for(batcher.entities(texts), limits.seconds)
        except BusyError:
            raise _later("So many texts are waiting that no more are taken now.") from None
        except asyncio.TimeoutError:
            raise _later(f"No answer within {limits.seconds:g} seconds: send less.") from None
        results = [answer(*pair, asked) for pair in zip(texts, answered, strict=True)]
        texts_read.inc(len(texts))
        for result in results:
            for entity in result.entities:
                found.labels(entity.label).inc()
        unknown = sorted(set(asked.labels or ()) - set(named(labels, asked.scheme)))
        return Answers(model=name, results=results, unknown_labels=unknown)

    @app.get("/v1/model", responses=_problems(401))
    async def model() -> dict[str, Any]:
        """What finds the entities: name, labels and their colours, test scores, limits."""
        return {
            "name": name,
            "description": nlp.meta.get("description", ""),
            "licence": nlp.meta.get("license", ""),
            "labels": {label: LABELS.get(label, "") for label in labels},
            "schemes": {scheme: named(labels, scheme) for scheme in SCHEMES},
            "performance": nlp.meta.get("performance", {}),
            "limits": asdict(limits),
        }

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        """Whether requests are answered: before and after, no server takes connections."""
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(_static("index.html"), media_type="text/html; charset=utf-8")

    @app.get("/static/{file}", include_in_schema=False)
    async def static(file: str) -> Response:
        if file not in STATIC:
            raise HTTPException(404, "There is no such file.")
        return Response(_static(file), media_type=f"{STATIC[file]}; charset=utf-8")

    return app


def _static(file: str) -> str:
    return files("gmb_ner.serve").joinpath("static").joinpath(file).read_text(encoding="utf-8")


def _check_size(texts: list[str], limits: Limits) -> None:
    if len(texts) > limits.texts:
        raise HTTPException(413, f"{len(texts):,} texts: send at most {limits.texts:,} at a time.")
    for number, text in enumerate(texts, 1):
        if len(text) > limits.text_chars:
            raise HTTPException(
                413,
                f"Text {number} has {len(text):,} characters: send at most "
                f"{limits.text_chars:,} in one, for example its paragraphs by themselves.",
            )
        # spaCy's tokenizer takes time by the square of it, in which nothing else is answered.
        if (run := max(map(len, text.split()), default=0)) > limits.run_chars:
            raise HTTPException(
                413,
                f"Text {number} has {run:,} characters without a space: send at most "
                f"{limits.run_chars:,} in a row.",
            )


def _later(detail: str) -> HTTPException:
    return HTTPException(503, detail, headers={"Retry-After": "1"})

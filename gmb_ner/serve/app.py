"""The HTTP service: entities of texts, what the model is, whether it is well; and its page."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from typing import Annotated, Any, Literal

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
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from spacy import displacy
from spacy.language import Language

import gmb_ner
from gmb_ner.pipeline.labels import LABELS, label_colors, resolve_label_map
from gmb_ner.serve.batching import Batcher, BusyError, Entity
from gmb_ner.serve.guard import Guard

SCHEMES: dict[str, str | None] = {"corpus": None, "onto": "onto", "conll": "conll"}
EXAMPLE = "President Ada Lin met Kenyan officials in Nairobi on Monday."
MARK = """<mark class="entity" style="background: {bg}">{text}\
<span class="label">{label}{kb_link}</span></mark>"""
STATIC = {"app.js": "text/javascript", "app.css": "text/css"}


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and what may wait.

    text_chars: of each text. texts: in a request. body_bytes: of its body. body_seconds: for that
    to arrive. seconds: from there to the answer. waiting_chars: of all requests together.
    batch_size: texts that are read together.
    """

    text_chars: int = 100_000
    texts: int = 1_000
    body_bytes: int = 2_000_000
    body_seconds: float = 10.0
    seconds: float = 30.0
    waiting_chars: int = 1_000_000
    batch_size: int = 32


def _storable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_storable)]


class Asked(BaseModel):
    """Texts, and which of their entities are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": EXAMPLE}, {"text": [EXAMPLE], "threshold": 0.9}]},
    )

    text: Text | list[Text] = Field(description="A text, or several.")
    threshold: float = Field(0.0, ge=0, le=1, description="Entities with less confidence go.")
    labels: list[Text] | None = Field(None, description="Of the scheme; none named: all.")
    scheme: Literal["corpus", "onto", "conll"] = Field(
        "corpus", description="Names of the labels: the corpus', OntoNotes' or CoNLL-2003's."
    )
    html: bool = Field(False, description="Add each text with its entities marked by displaCy.")


class Found(BaseModel):
    """An entity. Offsets count Unicode code points, end exclusive."""

    start: int
    end: int
    label: str
    text: str
    confidence: float | None = Field(description="In [0, 1]; null where the model gives none.")


class Answer(BaseModel):
    """The entities of one text, in order."""

    entities: list[Found]
    html: str | None = None


class Answers(BaseModel):
    """One answer a text, in the order of the texts."""

    model: str
    results: list[Answer]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in codes}


def create_app(nlp: Language, limits: Limits = Limits(), api_key: str | None = None) -> FastAPI:
    """Create the application (ASGI).

    nlp: a pipeline; its own threshold stays the lowest. api_key: see `guard.Guard`.
    """
    name = f"{nlp.meta['lang']}_{nlp.meta['name']} {nlp.meta['version']}"
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
    ready = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await batcher.start()
        await batcher.entities([EXAMPLE])  # what is loaded on first use is loaded now
        ready.set()
        yield
        ready.clear()
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
        started = time.perf_counter()
        response: Response = await call_next(request)
        route = request.scope.get("route")
        path = getattr(route, "path", "other")  # not what was asked for, which anyone can invent
        requests.labels(path, response.status_code).inc()
        seconds.labels(path).observe(time.perf_counter() - started)
        return response

    app.add_middleware(
        Guard,
        most_bytes=limits.body_bytes,
        body_seconds=limits.body_seconds,
        api_key=api_key,
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input, which would send a text of a megabyte back.
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))
        return JSONResponse({"detail": f"{place}: {first['msg']}"}, 422)

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
        results = [_answer(*pair, asked) for pair in zip(texts, answered, strict=True)]
        texts_read.inc(len(texts))
        for result in results:
            for entity in result.entities:
                found.labels(entity.label).inc()
        return Answers(model=name, results=results)

    @app.get("/v1/model", responses=_problems(401))
    async def model() -> dict[str, Any]:
        """What finds the entities: name, labels and their colours, test scores, limits."""
        labels = list(nlp.pipe_labels.get("ner", [])) or sorted(
            {label for labels in nlp.pipe_labels.values() for label in labels}
        )
        return {
            "name": name,
            "description": nlp.meta.get("description", ""),
            "licence": nlp.meta.get("license", ""),
            "labels": {label: LABELS.get(label, "") for label in labels},
            "schemes": {scheme: _named(labels, scheme) for scheme in SCHEMES},
            "performance": nlp.meta.get("performance", {}),
            "limits": asdict(limits),
        }

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process is alive."""
        return {"status": "ok"}

    @app.get("/readyz", responses=_problems(503))
    async def readyz() -> dict[str, str]:
        """Whether requests are answered."""
        if not ready.is_set():
            raise HTTPException(503, "The model is not loaded, or is shutting down.")
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


def _later(detail: str) -> HTTPException:
    return HTTPException(503, detail, headers={"Retry-After": "1"})


def _answer(text: str, entities: list[Entity], asked: Asked) -> Answer:
    renamed = resolve_label_map(SCHEMES[asked.scheme])
    kept = []
    for entity in entities:
        label = renamed.get(entity.label, entity.label)
        sure = entity.confidence is None or entity.confidence >= asked.threshold
        if label and sure and (asked.labels is None or label in asked.labels):
            kept.append(Found(**{**asdict(entity), "label": label}))
    return Answer(entities=kept, html=_marked(text, kept) if asked.html else None)


def _named(labels: list[str], scheme: str) -> dict[str, str]:
    """The names of the labels in a scheme, each with its colour."""
    renamed = resolve_label_map(SCHEMES[scheme])
    names = dict.fromkeys(name for label in labels if (name := renamed.get(label, label)))
    return label_colors(names)


def _marked(text: str, entities: list[Found]) -> str:
    """The text with its entities marked by displaCy, as HTML in which text is text."""
    colors: Mapping[str, str] = label_colors({entity.label for entity in entities})
    # displaCy escapes the text but not the labels.
    ents = [{"start": e.start, "end": e.end, "label": escape(e.label)} for e in entities]
    html: str = displacy.render(
        {"text": text, "ents": ents, "title": None},
        style="ent",
        manual=True,
        page=False,
        jupyter=False,
        options={"template": MARK, "colors": {escape(k): v for k, v in colors.items()}},
    )
    return html

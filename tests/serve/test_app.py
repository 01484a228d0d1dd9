"""Answers, and refusals that say what to do."""

import pytest
import spacy
from fastapi.testclient import TestClient
from spacy.language import Language

from gmb_ner.errors import InputError
from gmb_ner.serve.app import create_app, name_of
from gmb_ner.serve.messages import Limits

TEXT = "Ada Lin met Kenyan officials in Oslo on Monday."
LIMITS = Limits(text_chars=2_000, texts=20, body_bytes=50_000)


@pytest.fixture(scope="module")
def client(pipeline):
    with TestClient(create_app(pipeline, LIMITS)) as client:
        yield client


def ask(client, **asked):
    response = client.post("/v1/entities", json=asked)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def named(answer):
    return [(entity["text"], entity["label"]) for entity in answer["entities"]]


def test_a_text_and_several(client):
    (answer,) = ask(client, text=TEXT)
    assert named(answer) == [
        *[("Ada Lin", "per"), ("Kenyan", "gpe"), ("Oslo", "geo"), ("Monday", "tim")]
    ]
    for entity in answer["entities"]:
        assert TEXT[entity["start"] : entity["end"]] == entity["text"]
    assert {e["label"]: e["confidence"] for e in answer["entities"]}["geo"] == 0.9
    assert answer["html"] is None
    assert [named(answer) for answer in ask(client, text=["Oslo", "", "Rain"])] == [
        *[[("Oslo", "geo")], [], []]
    ]
    assert ask(client, text=[]) == []


def test_offsets_count_code_points(client):
    (answer,) = ask(client, text="\U0001f327 in Oslo")
    assert answer["entities"][0]["start"] == 5


def test_only_what_is_wanted(client):
    assert named(ask(client, text=TEXT, threshold=0.8)[0]) == [("Oslo", "geo")]
    assert named(ask(client, text=TEXT, labels=["tim"])[0]) == [("Monday", "tim")]
    assert named(ask(client, text=TEXT, labels=[])[0]) == []


@pytest.mark.parametrize(
    ("scheme", "labels"),
    [("onto", ["PERSON", "NORP", "LOC", "DATE"]), ("conll", ["PER", "MISC", "LOC"])],
)
def test_names_of_other_schemes(client, scheme, labels):
    (answer,) = ask(client, text=TEXT, scheme=scheme)
    assert [label for _, label in named(answer)] == labels
    (answer,) = ask(client, text=TEXT, scheme=scheme, labels=labels[:1])
    assert [label for _, label in named(answer)] == labels[:1]


def test_html_in_which_text_is_text(client):
    evil = "<script>alert(1)</script> Oslo <img src=x onerror=alert(1)>"
    (answer,) = ask(client, text=evil, html=True)
    assert '<span class="label">geo</span>' in answer["html"]
    assert "<script" not in answer["html"] and "<img" not in answer["html"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"text": "a" * 2_001}, 413, "Text 1 has 2,001 characters: send at most 2,000 in one"),
        ({"text": ["a"] * 21}, 413, "21 texts: send at most 20 at a time."),
        ({"text": ["a" * 1_900] * 30}, 413, "The body has more than 50,000 bytes"),
        ({}, 422, "body.text: Field required"),
        ({"text": 5}, 422, "body.text"),
        ({"text": "a", "threshold": 2}, 422, "body.threshold: Input should be less than or equal"),
        ({"text": "a", "scheme": "iob"}, 422, "body.scheme: Input should be 'corpus', 'onto'"),
        ({"text": "a", "txet": "b"}, 422, "body.txet: Extra inputs are not permitted"),
        ({"text": "a", "labels": ["geo"] * 101}, 422, "body.labels: List should have at most 100"),
        (
            {"text": ["Oslo", "(" * 1_001]},
            413,
            "Text 2 has 1,001 characters without a space: send at most 1,000 in a row.",
        ),
    ],
)
def test_refusals(client, body, status, message):
    response = client.post("/v1/entities", json=body)
    assert response.status_code == status
    assert message in response.json()["detail"]
    assert len(response.content) < 500  # what was sent is not sent back


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text":', 'no JSON object: send application/json and {"text": "..."}'),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe", "body"),
        (b'{"text": "\\ud800"}', "half of a surrogate pair"),
        (b"", "no JSON object"),
    ],
)
def test_bodies_that_are_no_request(client, content, message):
    response = client.post(
        "/v1/entities", content=content, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert message in response.json()["detail"] or response.status_code == 400


def test_labels_that_there_are_not_are_told(client):
    def unknown(**asked):
        return client.post("/v1/entities", json={"text": "a", **asked}).json()["unknown_labels"]

    assert unknown(labels=["geo", "LOC", "gpo"]) == ["LOC", "gpo"]
    assert unknown(labels=["LOC"], scheme="conll") == [] == unknown()


def test_wrong_paths_and_methods_are_told_where_to_look(client):
    assert "/openapi.json" in client.get("/v2/entities").json()["detail"]
    refused = client.get("/v1/entities")
    assert refused.status_code == 405 and refused.headers["allow"] == "POST"
    assert refused.json()["detail"].startswith("GET is not what this path takes")


def test_what_the_model_is(client):
    model = client.get("/v1/model").json()
    assert model["name"] == "en_pipeline 0.0.0"
    assert set(model["labels"]) == {"geo", "gpe", "per", "tim"}
    assert set(model["schemes"]["conll"]) == {"LOC", "MISC", "PER"}
    assert model["limits"]["texts"] == 20


def test_a_model_is_called_like_its_wheel_or_its_folder(tmp_path):
    nlp = spacy.blank("en")
    assert name_of(nlp) == "en_pipeline 0.0.0"
    nlp.to_disk(tmp_path / "exported")
    assert name_of(spacy.load(tmp_path / "exported")) == "exported"
    nlp.meta |= {"name": "ner_gmb_sm", "version": "0.1.0"}
    nlp.to_disk(tmp_path / "en_ner_gmb_sm-0.1.0")
    assert name_of(spacy.load(tmp_path / "en_ner_gmb_sm-0.1.0")) == "en_ner_gmb_sm 0.1.0"


def test_health_metrics_and_headers(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200
    ask(client, text=["Oslo", "Oslo"])
    client.get("/nowhere/at/all")
    metrics = client.get("/metrics").text
    assert 'gmb_ner_requests_total{path="/v1/entities",status="200"}' in metrics
    assert "nowhere" not in metrics
    assert 'gmb_ner_entities_total{label="geo"}' in metrics
    headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    preflight = client.options("/v1/entities", headers={"origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in preflight.headers


def test_errors_of_ours_are_counted(monkeypatch):
    class Broken(Language):
        def pipe(self, texts, **kwargs):
            if "bad" in texts:
                raise RuntimeError("ours")
            return super().pipe(texts, **kwargs)

    with TestClient(create_app(Broken(), LIMITS), raise_server_exceptions=False) as client:
        assert client.post("/v1/entities", json={"text": "bad"}).status_code == 500
        metrics = client.get("/metrics").text
    assert 'gmb_ner_requests_total{path="/v1/entities",status="500"} 1.0' in metrics


def test_texts_longer_than_the_pipeline_reads_are_not_promised(pipeline):
    with pytest.raises(InputError, match="more than the pipeline reads at once: allow 1,000,000"):
        create_app(pipeline, Limits(text_chars=1_000_001))


def test_the_page_and_its_files(client):
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    for file in ("app.js", "app.css"):
        assert client.get(f"/static/{file}").status_code == 200
    for file in ("index.html", "..%2f..%2fapp.py", "nothing.js"):
        assert client.get(f"/static/{file}").status_code == 404


def test_a_key(pipeline):
    with TestClient(create_app(pipeline, LIMITS, api_key="s3cret")) as client:
        assert client.get("/v1/model").status_code == 401
        assert client.get("/v1/model", headers={"x-api-key": "wrong"}).status_code == 401
        assert client.get("/v1/model", headers={"x-api-key": "s3cret"}).status_code == 200
        bearer = {"authorization": "Bearer s3cret"}
        assert client.post("/v1/entities", json={"text": "Oslo"}, headers=bearer).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/invented", json={"text": "Oslo"}).status_code == 401
        metrics = client.get("/metrics").text
    assert 'gmb_ner_requests_total{path="/v1/model",status="401"} 2.0' in metrics
    assert 'gmb_ner_requests_total{path="other",status="401"} 1.0' in metrics

import json

import pytest
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from gmb_ner.errors import InputError
from gmb_ner.evaluation.evaluate import evaluate
from gmb_ner.evaluation.predict import Stopwatch, predict_gold_tokens, predict_raw_text
from gmb_ner.evaluation.report import (
    calibration_text,
    caution,
    confusion_text,
    error_kinds_text,
    headline,
    points,
    summary,
)


@pytest.fixture
def docs(reference):
    return [
        reference(
            ("Bush flew to Baghdad.", [("per", "Bush"), ("geo", "Baghdad")]),
            ("Iraq and Bush and Darfur.", None),
            ("The United Nations met.", [("org", "The United Nations")]),
        ),
        reference(("Bush met Mr. Annan in Washington.", None)),
        reference(
            ("Washington said no to Mr. Annan.", [("geo", "Washington"), ("per", "Mr. Annan")]),
            ("It rained in Kampala.", [("geo", "Kampala")]),
        ),
    ]


def test_end_to_end(ruler, docs):
    result = evaluate(ruler, docs, corpus="gmb", protocol="canonical", config="minilm", seed=7)
    # right: Bush, Baghdad, Mr. Annan; wrong: United Nations, Washington; missed beside: Kampala
    tokens = result["gold_tokens"]
    assert tokens["ents_p"] == pytest.approx(3 / 5)
    assert tokens["ents_r"] == pytest.approx(3 / 6)
    assert tokens["ents_f"] == pytest.approx(6 / 11)
    assert tokens["ents_per_type"]["geo"] == {
        "p": 1.0,
        "r": pytest.approx(1 / 3),
        "f": pytest.approx(0.5),
        "support": 3,
    }
    assert tokens["macro_f"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert result["raw_text"] == tokens
    assert result["counts"] == {"documents": 2, "sentences": 4, "words": 22, "entities": 6}
    assert result["token_f_without_o"] == pytest.approx(2 * 6 / (7 + 9))
    assert sorted(result["token_f_by_label"]) == sorted({*result["gold_tokens"]["ents_per_type"]})
    assert result["error_kinds"] == {
        "correct": 3,
        "label": 1,
        "boundary": 1,
        "both": 0,
        "missed": 1,
        "spurious": 0,
    }
    low, high = result["interval95"]
    assert 0 <= low < 6 / 11 < high <= 1
    assert result["words_per_second"] > 0
    alone = result["seconds_per_text"]
    assert alone["texts"] == 2 and 0 < alone["median"] <= alone["p95"]
    assert {key: result[key] for key in ("corpus", "protocol", "config", "seed")} == {
        "corpus": "gmb",
        "protocol": "canonical",
        "config": "minilm",
        "seed": 7,
    }
    assert "note" not in result
    assert result["calibration"] is None
    assert json.loads(json.dumps(result)) == result


def test_what_learned_from_single_sentences_reads_single_sentences(ruler, docs):
    together = evaluate(ruler, docs)
    read = []

    @Language.component("reader")
    def reader(doc):
        read.append(doc.text.strip())
        return doc

    ruler.add_pipe("reader")
    ruler.config["corpora"]["train"] = {"sentences": True}
    alone = evaluate(ruler, docs)
    sentences = [
        "Bush flew to Baghdad.",
        "The United Nations met.",
        "Washington said no to Mr. Annan.",
        "It rained in Kampala.",
    ]
    assert read[:8] == [*sentences, *sentences]  # on gold tokens and from raw text
    assert (together["single_sentences"], alone["single_sentences"]) == (False, True)
    told = [summary(result).splitlines()[0] for result in (together, alone)]
    assert [line.partition("; ")[2] for line in told] == ["", "each sentence read by itself"]
    assert alone["counts"] == {**together["counts"], "documents": 4}
    # Rules do not heed context.
    for scores in ("gold_tokens", "raw_text", "interval95"):
        assert alone[scores] == together[scores]


@pytest.mark.parametrize(("entities", "said"), [(99, "Only 99 entities are scored"), (100, "")])
def test_few_entities_are_told(entities, said):
    sentence = caution({"counts": {"entities": entities}})
    assert sentence.startswith(said) and bool(sentence) == bool(said)


def test_reports(ruler, docs):
    result = evaluate(ruler, docs, corpus="gmb", protocol="canonical")
    assert "0.5455" in result["classification_report"]
    table = confusion_text(result["confusion"]).splitlines()
    assert table[0].split() == ["predicted", "geo", "org", "per", "missed"]
    assert table[2].split() == ["geo", "1", "1", "0", "1"]
    assert table[-1].split() == ["spurious", "0", "0", "0", "0"]
    assert error_kinds_text(result["error_kinds"]).startswith(
        "correct 3; errors 3, label 1 (33.3%)"
    )
    line = headline(result)
    assert line.startswith("Strict F1 54.55 (95 %: ")
    assert line.endswith(" on GMB canonical") and "\n" not in line
    assert "6 entities" in summary(result)
    assert "confidence" not in summary(result)
    assert points(None) == "n/a"


def test_confidences_are_calibrated(ruler, docs):
    ruler.add_pipe("confident")
    result = evaluate(ruler, docs)
    figures = result["calibration"]
    # The two organizations (0.5) are wrong, the three others (0.96) right; six are gold.
    assert figures["entities"] == 5
    assert figures["mean_confidence"] == pytest.approx((2 * 0.5 + 3 * 0.96) / 5)
    assert figures["ece"] == pytest.approx((2 * 0.5 + 3 * 0.04) / 5)
    assert figures["brier"] == pytest.approx((2 * 0.25 + 3 * 0.0016) / 5)
    everything, *_, at_90, _, at_99 = figures["thresholds"]
    tokens = result["gold_tokens"]
    assert everything["precision"] == pytest.approx(tokens["ents_p"])
    assert everything["recall"] == pytest.approx(tokens["ents_r"])
    assert everything["f"] == pytest.approx(tokens["ents_f"])
    assert (at_90["kept"], at_90["precision"], at_90["recall"]) == (3, 1.0, 0.5)
    assert at_99["kept"] == 0
    assert json.loads(json.dumps(result)) == result
    without_org = evaluate(ruler, docs, label_map={"org": None, "per": "person"})
    assert without_org["calibration"]["ece"] == pytest.approx(0.04)


def test_calibration_as_text(ruler, docs):
    ruler.add_pipe("confident")
    result = evaluate(ruler, docs)
    figures, thresholds, bins = calibration_text(result["calibration"]).split("\n\n")
    assert figures == "ECE 0.2240, Brier 0.1010, mean confidence 77.60 over 5 entities"
    thresholds = [line.split() for line in thresholds.splitlines()]
    assert thresholds[0] == ["confidence", "precision", "recall", "F", "kept"]
    assert thresholds[1] == [">=", "0.00", "60.00", "50.00", "54.55", "100.0%"]
    assert thresholds[-3] == [">=", "0.90", "100.00", "50.00", "66.67", "60.0%"]
    assert thresholds[-1] == [">=", "0.99", "n/a", "0.00", "0.00", "0.0%"]
    # Bins without entities are not shown.
    assert [line.split() for line in bins.splitlines()] == [
        ["confidence", "entities", "mean", "precision"],
        ["0.467", "to", "0.533", "2", "50.00", "0.00"],
        ["0.933", "to", "1.000", "3", "96.00", "100.00"],
    ]
    assert summary(result).splitlines()[-1] == (
        "confidence: ECE 0.224, Brier 0.101; at 0.9 precision 100.00, recall 50.00"
    )


def test_the_sample_is_never_mistaken_for_the_corpus(ruler, docs):
    result = evaluate(ruler, docs, corpus="sample", protocol="canonical")
    assert result["note"].startswith("SAMPLE")
    assert headline(result).endswith("on SAMPLE canonical")


def test_label_map_renames_gold_and_prediction(ruler, docs):
    result = evaluate(ruler, docs, label_map="onto")
    assert result["label_map"] == "onto"
    assert result["gold_tokens"]["ents_per_type"].keys() == {"LOC", "ORG", "PERSON"}
    assert result["confusion"].keys() == {"LOC", "ORG", "PERSON", "spurious"}
    assert result["raw_text"]["ents_f"] == pytest.approx(6 / 11)
    without = evaluate(ruler, docs, label_map={"geo": None})
    assert (
        without["counts"]["entities"]
        == without["gold_tokens"]["ents_per_type"]["org"]["support"]
        + without["gold_tokens"]["ents_per_type"]["per"]["support"]
    )
    with pytest.raises(InputError, match="no label map"):
        evaluate(ruler, docs, label_map="nope")


def test_raw_text_is_scored_with_the_pipelines_own_tokens(ruler):
    words = ["In", "Iraq", "-", "held", "Baghdad"]
    spaces = [True, False, False, True, False]
    gold = Doc(ruler.vocab, words, spaces, ents=["O", "B-geo", "O", "O", "B-geo"])
    result = evaluate(ruler, [gold])
    assert result["gold_tokens"]["ents_f"] == 1.0
    assert ruler(gold.text).text == "In Iraq-held Baghdad"
    assert result["raw_text"]["ents_f"] == 1.0
    assert result["counts"]["sentences"] == 1


def test_documents_without_annotation_are_refused(ruler, reference):
    with pytest.raises(InputError, match="nothing can be scored"):
        evaluate(ruler, [reference(("Iraq.", None))])


def test_documents_without_entities_have_no_scores(ruler, reference):
    result = evaluate(ruler, [reference(("Nothing here.", []))])
    assert result["gold_tokens"]["ents_f"] is None
    assert result["interval95"] == [0.0, 0.0]
    assert headline(result).startswith("Strict F1 n/a")
    assert "F n/a" in summary(result)
    assert error_kinds_text(result["error_kinds"]) == "correct 0; errors 0"


@pytest.mark.parametrize("predict", [predict_gold_tokens, predict_raw_text])
def test_predictions_hold_entities_only(ruler, docs, predict):
    @ruler.component("tensor_maker")
    def tensor_maker(doc):
        doc.tensor = doc.to_array(["ORTH"])[:, None].astype("f")
        doc.user_data["heavy"] = doc.tensor
        return doc

    ruler.add_pipe("tensor_maker")
    predicted = list(predict(ruler, docs, batch_size=2))
    assert [doc.text for doc in predicted] == [doc.text for doc in docs]
    assert [ent.text for ent in predicted[2].ents] == ["Washington", "Mr. Annan"]
    assert all(doc.tensor.size == 0 and not doc.user_data for doc in predicted)


def test_a_stopwatch_leaves_out_the_time_of_the_consumer():
    import time

    stopwatch = Stopwatch()
    for _ in stopwatch.time(range(3)):
        time.sleep(0.02)
    assert stopwatch.seconds < 0.02


def test_docs_survive_a_docbin(ruler, docs, tmp_path):
    path = tmp_path / "test.spacy"
    DocBin(docs=docs).to_disk(path)
    read = list(DocBin().from_disk(path).get_docs(ruler.vocab))
    assert evaluate(ruler, read)["gold_tokens"] == evaluate(ruler, docs)["gold_tokens"]

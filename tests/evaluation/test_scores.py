import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support as seqeval_scores
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score as token_f1
from spacy.tokens import Doc, SpanGroup
from spacy.vocab import Vocab

from gmb_ner.evaluation.errors import confusion_table, error_kinds
from gmb_ner.evaluation.report import classification_report, tag_sequences
from gmb_ner.evaluation.scored import scored_doc
from gmb_ner.evaluation.scores import (
    f_score,
    sentence_counts,
    strict_scores,
    token_f_by_label,
    token_f_without_o,
)

VOCAB = Vocab()
TAGS = st.sampled_from(["O", *(f"{prefix}-{x}" for prefix in "BI" for x in "xyz")])
# One document: sentences of (gold, predicted) tags, and whether they are annotated. spaCy mends
# an I- that follows something else, and predictions may cross the borders of sentences.
DOCUMENT = st.lists(
    st.tuples(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=6), st.booleans()),
    min_size=1,
    max_size=5,
)


def docs_from(drawn):
    starts = [i == 0 for pairs, _ in drawn for i in range(len(pairs))]
    gold = [
        (tag.replace("I-", "B-") if i == 0 else tag) if known else ""
        for pairs, known in drawn
        for i, (tag, _) in enumerate(pairs)
    ]
    predicted = [tag for pairs, _ in drawn for _, tag in pairs]
    predicted[0] = predicted[0].replace("I-", "B-")
    words = ["w"] * len(starts)
    return Doc(VOCAB, words, ents=gold, sent_starts=starts), Doc(VOCAB, words, ents=predicted)


@given(st.lists(DOCUMENT, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_all_measures_agree_with_each_other_and_with_seqeval(drawn):
    pairs = [docs_from(document) for document in drawn]
    scored = [scored_doc(gold, predicted) for gold, predicted in pairs]
    scores = strict_scores(*zip(*pairs, strict=True))
    counts = sentence_counts(scored)
    assert counts.shape == (sum(known for document in drawn for _, known in document), 3)
    right, spurious, missed = (int(total) for total in counts.sum(axis=0))
    assert f_score(right, spurious, missed) == pytest.approx(scores["ents_f"] or 0.0)
    gold_tags, predicted_tags = tag_sequences(scored)
    if right + spurious + missed:
        _, _, f, support = seqeval_scores(
            gold_tags, predicted_tags, scheme=IOB2, average="micro", zero_division=0
        )
        assert f == pytest.approx(scores["ents_f"])
        assert support == right + missed
        assert f"{right + missed}\n" in classification_report(scored)
    else:
        assert "no entities" in classification_report(scored)

    kinds = error_kinds(scored)
    assert kinds["correct"] == right
    assert kinds["label"] + kinds["boundary"] + kinds["both"] + kinds["missed"] == missed
    assert kinds["label"] + kinds["boundary"] + kinds["both"] + kinds["spurious"] == spurious
    table = confusion_table(scored)
    for label, row in (scores["ents_per_type"] or {}).items():
        if label in table.index:
            assert table.loc[label].sum() == row["support"]
    assert table.drop(columns="missed").to_numpy().sum() == right + spurious

    gold_labels = [tag[2:] for tags in gold_tags for tag in tags]
    predicted_labels = [tag[2:] for tags in predicted_tags for tag in tags]
    if gold_labels:
        expected = token_f1(
            gold_labels, predicted_labels, labels=["x", "y", "z"], average="micro", zero_division=0
        )
        assert token_f_without_o(scored) == pytest.approx(expected)
        present = sorted({*gold_labels, *predicted_labels} - {""})
        by_label = token_f1(
            gold_labels, predicted_labels, labels=present, average=None, zero_division=0
        )
        assert token_f_by_label(scored) == pytest.approx(dict(zip(present, by_label, strict=True)))


def test_counts_by_sentence(tagged):
    doc = tagged(
        [("B-x", "B-x"), ("O", "B-y")],
        [("", "B-x"), ("", "O")],
        [("O", "O")],
        [("B-x", "O"), ("I-x", "B-x")],
    )
    assert sentence_counts([doc]).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert sentence_counts([]).shape == (0, 3)


def test_a_prediction_over_two_scored_sentences_counts_where_it_starts(tagged):
    doc = tagged([("B-x", "B-x")], [("B-x", "I-x")])
    assert sentence_counts([doc]).tolist() == [[0, 1, 1], [0, 0, 1]]


def test_token_f_merges_b_and_i_and_ignores_o(tagged):
    doc = tagged([("B-x", "B-x"), ("I-x", "B-x"), ("O", "O"), ("B-y", "B-x"), ("O", "B-y")])
    assert token_f_without_o([doc]) == pytest.approx(2 * 2 / (3 + 4))
    assert token_f_by_label([doc]) == {"x": pytest.approx(2 * 2 / (2 + 3)), "y": 0.0}
    assert token_f_without_o([]) == 0.0
    assert token_f_by_label([]) == {}


def with_confidences(tags, scores):
    doc = Doc(VOCAB, ["w"] * len(tags), ents=tags)
    doc.spans["ner"] = SpanGroup(
        doc, name="ner", spans=doc.ents, attrs={"scores": np.array(scores, dtype="f4")}
    )
    return doc


def test_confidences_stay_with_the_predictions_that_count():
    gold = Doc(VOCAB, ["w"] * 5, ents=["B-x", "", "O", "B-y", "I-y"])
    predicted = with_confidences(["B-x", "B-x", "B-z", "B-y", "I-y"], [0.5, 1.0, 0.25, 0.75])
    scored = scored_doc(gold, predicted)
    assert scored.predicted == [(0, 1, "x"), (2, 3, "z"), (3, 5, "y")]
    assert scored.confidences.tolist() == [0.5, 0.25, 0.75]
    assert scored.confidences.dtype == np.float64


def test_a_document_without_predictions_has_no_confidences_rather_than_unknown_ones():
    gold = Doc(VOCAB, ["w"], ents=["B-x"])
    assert scored_doc(gold, with_confidences(["O"], [])).confidences.shape == (0,)
    assert scored_doc(gold, Doc(VOCAB, ["w"], ents=["O"])).confidences is None


def test_confidences_are_unknown_where_the_group_does_not_hold_exactly_the_entities():
    gold = Doc(VOCAB, ["w", "w"], ents=["B-x", "O"])
    more = with_confidences(["B-x", "O"], [0.5])
    more.set_ents([more.char_span(2, 3, label="x")], default="unmodified")
    other = with_confidences(["B-x", "O"], [0.5])
    other.ents = [other.char_span(0, 1, label="y")]
    unscored = with_confidences(["B-x", "O"], [0.5])
    del unscored.spans["ner"].attrs["scores"]
    for predicted in (more, other, unscored):
        assert scored_doc(gold, predicted).confidences is None


def test_documents_that_run_out_are_refused(reference, ruler):
    doc = reference(("Iraq", []))
    with pytest.raises(ValueError):
        strict_scores([doc], [])
    with pytest.raises(ValueError, match="1 and 2 tokens"):
        scored_doc(doc, ruler("Iraq now"))

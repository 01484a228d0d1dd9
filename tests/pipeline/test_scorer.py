import io
import pickle
from importlib.metadata import entry_points

import numpy as np
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from spacy.cli.evaluate import handle_scores_per_type
from spacy.cli.package import generate_readme
from spacy.scorer import Scorer, get_ner_prf
from spacy.tokens import Doc, SpanGroup
from spacy.training import Example
from spacy.training.loggers import console_logger
from spacy.vocab import Vocab
from thinc.api import Config

from gmb_ner.errors import InputError
from gmb_ner.pipeline.scorer import (
    CONFIDENCES,
    copy_entities,
    make_entity_scorer,
    relabel,
    score_entities,
)

VOCAB = Vocab()
TAGS = st.sampled_from(["O", "O", *(f"{prefix}-{x}" for prefix in "BI" for x in "xyz")])
Tags = list[str]


def iob2(tags: Tags) -> Tags:
    """Turn each I- that continues nothing into a B-."""
    fixed: Tags = []
    for tag in tags:
        continues = fixed and fixed[-1] != "O" and fixed[-1][2:] == tag[2:]
        fixed.append(f"B-{tag[2:]}" if tag.startswith("I-") and not continues else tag)
    return fixed


def make_doc(tags: Tags) -> Doc:
    """A Doc with IOB2 tags; an empty tag is missing annotation."""
    return Doc(VOCAB, words=[f"w{i}" for i in range(len(tags))], ents=tags)


def make_example(gold: Tags, predicted: Tags) -> Example:
    return Example(make_doc(predicted), make_doc(gold))


def sentences() -> st.SearchStrategy[list[tuple[Tags, Tags, bool]]]:
    """Sentences of gold and predicted tags of equal length, and whether gold is annotated."""
    pairs = st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=8)
    sentence = st.tuples(pairs, st.booleans()).map(
        lambda drawn: (
            iob2([gold for gold, _ in drawn[0]]),
            iob2([predicted for _, predicted in drawn[0]]),
            drawn[1],
        )
    )
    return st.lists(sentence, min_size=1, max_size=5)


def assert_equals_seqeval(scores, gold: list[Tags], predicted: list[Tags]) -> None:
    if not any(tag != "O" for tags in (*gold, *predicted) for tag in tags):
        assert scores["ents_f"] is None and scores["macro_f"] is None
        return
    report = classification_report(
        gold, predicted, mode="strict", scheme=IOB2, zero_division=0, output_dict=True
    )
    rows = {key: row for key, row in report.items() if " avg" not in key}
    micro = report["micro avg"]
    assert scores["ents_p"] == pytest.approx(micro["precision"])
    assert scores["ents_r"] == pytest.approx(micro["recall"])
    assert scores["ents_f"] == pytest.approx(micro["f1-score"])
    assert scores["ents_per_type"].keys() == rows.keys()
    for label, row in rows.items():
        ours = scores["ents_per_type"][label]
        assert ours["support"] == row["support"]
        assert ours["p"] == pytest.approx(row["precision"])
        assert ours["r"] == pytest.approx(row["recall"])
        assert ours["f"] == pytest.approx(row["f1-score"])
    with_support = [row["f1-score"] for row in rows.values() if row["support"]]
    expected = sum(with_support) / len(with_support) if with_support else 0
    assert scores["macro_f"] == pytest.approx(expected)


@given(sentences())
@settings(max_examples=150, deadline=None)
def test_equals_seqeval_and_spacy_on_full_annotation(drawn):
    examples = [make_example(gold, predicted) for gold, predicted, _ in drawn]
    scores = score_entities(examples)
    assert_equals_seqeval(scores, [gold for gold, _, _ in drawn], [pred for _, pred, _ in drawn])
    spacy_scores = Scorer.score_spans(examples, "ents")
    for key in ("ents_p", "ents_r", "ents_f"):
        assert scores[key] == pytest.approx(spacy_scores[key])
    for label, row in (spacy_scores["ents_per_type"] or {}).items():
        ours = scores["ents_per_type"][label]
        assert {k: ours[k] for k in "prf"} == pytest.approx(row)


@given(sentences())
@settings(max_examples=150, deadline=None)
def test_equals_seqeval_on_the_annotated_sentences_of_a_document(drawn):
    gold = [tag if known else "" for tags, _, known in drawn for tag in tags]
    predicted = [tag for _, tags, _ in drawn for tag in tags]
    scores = score_entities([make_example(gold, predicted)])
    annotated = [(tags, pred) for tags, pred, known in drawn if known]
    assert_equals_seqeval(scores, [tags for tags, _ in annotated], [pred for _, pred in annotated])


@given(sentences())
@settings(max_examples=100, deadline=None)
def test_equals_spacys_own_scorer_also_where_predictions_cross_sentences(drawn):
    gold = [tag if known else "" for tags, _, known in drawn for tag in tags]
    predicted = iob2([tag.replace("B-", "I-") for _, tags, _ in drawn for tag in tags])
    example = make_example(gold, predicted)
    scores, expected = score_entities([example]), get_ner_prf([example])
    per_type, expected_per_type = scores.pop("ents_per_type"), expected.pop("ents_per_type")
    macro_f = scores.pop("macro_f")
    assert scores == expected
    assert (macro_f is None) == (expected["ents_f"] is None)
    for label, row in (per_type or {}).items():
        assert {k: row[k] for k in "prf"} == expected_per_type[label]


@given(sentences(), st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["P", "Q", None])))
@settings(max_examples=100, deadline=None)
def test_a_label_map_equals_renaming_the_tags_first(drawn, label_map):
    def rename(tags: Tags) -> Tags:
        targets = [label_map.get(tag[2:], tag[2:]) if tag != "O" else None for tag in tags]
        return [f"{tag[0]}-{x}" if x else "O" for tag, x in zip(tags, targets, strict=True)]

    examples = [make_example(gold, predicted) for gold, predicted, _ in drawn]
    renamed = [make_example(rename(gold), rename(predicted)) for gold, predicted, _ in drawn]
    assert score_entities(examples, label_map) == score_entities(renamed)
    mapped = list(relabel(examples, label_map))
    assert score_entities(mapped, label_map) == score_entities(mapped)


def test_exact_small_example():
    gold = ["B-geo", "O", "B-per", "I-per", "O", "B-org", "O", "O"]
    predicted = ["B-geo", "O", "B-per", "O", "O", "B-org", "O", "B-tim"]
    scores = score_entities([make_example(gold, predicted)])
    right = {"p": 1.0, "r": 1.0, "f": 1.0, "support": 1}
    assert scores["ents_per_type"] == {
        "geo": right,
        "org": right,
        "per": {"p": 0.0, "r": 0.0, "f": 0.0, "support": 1},
        "tim": {"p": 0.0, "r": 0.0, "f": 0.0, "support": 0},
    }
    assert scores["ents_p"] == pytest.approx(2 / 4)
    assert scores["ents_r"] == pytest.approx(2 / 3)
    assert scores["ents_f"] == pytest.approx(4 / 7)
    # The spurious tim costs precision, but is no label of the test set.
    assert scores["macro_f"] == pytest.approx(2 / 3)


def test_predictions_on_missing_annotation_count_neither_way():
    gold = ["B-geo", "O", "", ""]
    for predicted in (["B-geo", "O", "B-per", "I-per"], ["B-geo", "B-per", "I-per", "O"]):
        assert score_entities([make_example(gold, predicted)])["ents_f"] == 1.0


def test_nothing_to_score_gives_none():
    expected = dict.fromkeys(("ents_p", "ents_r", "ents_f", "ents_per_type", "macro_f"))
    assert score_entities([]) == expected
    assert score_entities([make_example(["", ""], ["B-x", "O"])]) == expected


def test_only_spurious_predictions_give_zero():
    scores = score_entities([make_example(["O"], ["B-x"])])
    assert scores["ents_f"] == scores["macro_f"] == 0.0


def test_null_leaves_a_label_out_on_both_sides():
    gold = ["B-nat", "B-geo", "O", "B-nat"]
    predicted = ["B-nat", "B-GPE", "B-nat", "B-geo"]
    scores = score_entities([make_example(gold, predicted)], "onto")
    assert scores["ents_per_type"] == {
        "LOC": {"p": 0.5, "r": 1.0, "f": pytest.approx(2 / 3), "support": 1}
    }


def test_unchanged_examples_are_passed_through_and_originals_kept():
    same, changed = (
        make_example(["B-geo", ""], ["B-geo", "O"]),
        make_example(["B-per", ""], ["O", "O"]),
    )
    first, second = relabel([same, changed], {"per": "PERSON"})
    assert first is same
    assert [ent.label_ for ent in second.reference.ents] == ["PERSON"]
    assert [token.ent_iob for token in second.reference] == [3, 0]
    assert [ent.label_ for ent in changed.reference.ents] == ["per"]


def with_confidences(doc: Doc, scores: list[float]) -> Doc:
    doc.spans[CONFIDENCES] = SpanGroup(
        doc, name=CONFIDENCES, spans=doc.ents, attrs={"scores": np.array(scores, dtype="f4")}
    )
    return doc


def confidences(doc: Doc) -> list[tuple[int, int, str, float]]:
    group = doc.spans[CONFIDENCES]
    scores = group.attrs["scores"].tolist()
    return [(e.start, e.end, e.label_, s) for e, s in zip(group, scores, strict=True)]


def test_copies_keep_words_spaces_entities_and_missing_annotation():
    doc = Doc(VOCAB, ["a", "b", "c"], [False, True, False], ents=["B-x", "I-x", ""])
    copy = copy_entities(doc)
    assert copy.text == "ab c"
    assert [(ent.text, ent.label_) for ent in copy.ents] == [("ab", "x")]
    assert [token.ent_iob for token in copy] == [3, 1, 0]
    assert CONFIDENCES not in copy.spans


def test_copies_keep_confidences():
    doc = with_confidences(make_doc(["B-x", "I-x", "O", "B-y"]), [0.5, 0.25])
    copy = copy_entities(doc)
    assert confidences(copy) == [(0, 2, "x", 0.5), (3, 4, "y", 0.25)]
    assert all(span.doc is copy for span in copy.spans[CONFIDENCES])
    assert confidences(copy_entities(with_confidences(make_doc(["O"]), []))) == []


def test_renamed_entities_keep_their_confidence_and_left_out_ones_lose_it():
    doc = with_confidences(make_doc(["B-x", "B-y", "B-z"]), [0.5, 0.25, 1.0])
    copy = copy_entities(doc, {"x": None, "y": "P"})
    assert confidences(copy) == [(1, 2, "P", 0.25), (2, 3, "z", 1.0)]
    assert confidences(copy_entities(doc, dict.fromkeys("xyz"))) == []
    (relabelled,) = relabel([Example(doc, make_doc(["O", "O", "O"]))], {"z": None})
    assert confidences(relabelled.predicted) == [(0, 1, "x", 0.5), (1, 2, "y", 0.25)]


def test_entities_of_other_components_do_not_shift_confidences():
    doc = with_confidences(make_doc(["O", "B-y"]), [0.25])
    doc.set_ents([doc.char_span(0, 2, label="x")], default="unmodified")
    copy = copy_entities(doc)
    assert [ent.label_ for ent in copy.ents] == ["x", "y"]
    assert confidences(copy) == [(1, 2, "y", 0.25)]


def test_span_groups_without_scores_are_no_confidences():
    doc = make_doc(["B-x"])
    doc.spans[CONFIDENCES] = list(doc.ents)
    assert CONFIDENCES not in copy_entities(doc).spans


CONFIG = """
[nlp]
lang = "en"
pipeline = ["ner"]
[components]
[components.ner]
factory = "ner"
[components.ner.scorer]
@scorers = "gmb_ner.entity_scorer.v1"
"""


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        ("", "per"),
        ("label_map = null", "per"),
        ('label_map = "onto"', "PERSON"),
        ('[components.ner.scorer.label_map]\nper = "P"\nnat = null', "P"),
    ],
)
def test_scores_a_pipeline_through_its_config(setting, label):
    config = Config().from_str(CONFIG + setting)
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    words = ["Ann", "spoke"]

    def get_examples():
        return [Example(Doc(nlp.vocab, words), Doc(nlp.vocab, words, ents=["B-per", "O"]))]

    nlp.initialize(get_examples)
    scores = nlp.evaluate(get_examples())
    assert scores["ents_per_type"][label]["support"] == 1
    assert 0 <= scores["macro_f"] <= 1
    again = spacy.blank("en").from_config(nlp.config)
    assert again.config["components"]["ner"] == nlp.config["components"]["ner"]


def test_the_scorer_is_found_through_its_entry_point():
    (entry_point,) = entry_points(group="spacy_scorers", name="gmb_ner.entity_scorer.v1")
    assert entry_point.load() is make_entity_scorer


def test_an_unknown_map_is_refused_when_the_pipeline_is_made():
    with pytest.raises(InputError, match="no label map named 'nope'"):
        make_entity_scorer("nope")


def test_scores_survive_spacys_logger_tables_and_readme():
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    scores = score_entities([make_example(["B-geo", "B-x"], ["B-geo", "B-y"])])
    nlp.config["training"]["score_weights"] = {
        "ents_f": 1.0,
        "macro_f": 0.0,
        "ents_per_type": None,
    }
    out = io.StringIO()
    log_step, finalize = console_logger()(nlp, out, out)
    log_step({"epoch": 0, "step": 1, "losses": {"ner": 1.0}, "other_scores": scores, "score": 0.5})
    finalize()
    assert "50.00" in out.getvalue()
    assert handle_scores_per_type(scores, silent=True) == scores
    readme = generate_readme({**nlp.meta, "performance": scores, "spacy_version": "3"})
    assert "| `MACRO_F` | 50.00 |" in readme


def test_the_scorer_can_be_pickled():
    # As processes that are spawned get it.
    scorer = pickle.loads(pickle.dumps(make_entity_scorer("conll")))
    assert scorer([]) == make_entity_scorer("conll")([])

import json
from pathlib import Path

import pytest
import spacy
from spacy.lang.en import English
from spacy.util import load_config, load_model_from_config
from spacy.vocab import Vocab

from gmb_ner.benchmark.ablation import ablate, score, strict_spans, table
from gmb_ner.benchmark.variants import VARIANTS
from gmb_ner.corpus.docs import annotated_sentences
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.evaluation.scored import scored_doc
from gmb_ner.evaluation.scores import sentence_counts
from gmb_ner.training.reader import untagged_copy
from gmb_ner.training.train import train

CONFIG = Path(__file__).parents[2] / "configs" / "minilm.cfg"


CHANGE_DATA = ("base", "sentences", "cleaning")


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in CHANGE_DATA])
def test_a_variant_changes_the_config_into_another_that_is_valid(name):
    config = load_config(CONFIG)
    before = config.to_str()
    VARIANTS[name].change(config)
    assert config.to_str() != before
    assert isinstance(load_model_from_config(config, auto_fill=True), English)


def test_runs_once_each_and_goes_on_where_it_was(sample_corpus, tiny_bert, tmp_path):
    def run(names):
        return list(
            ablate(
                CONFIG,
                sample_corpus,
                tmp_path,
                names=names,
                seeds=[0],
                encoder_path=str(tiny_bert),
                max_steps=2,
            )
        )

    first = run(["base"])
    written = (tmp_path / "base-0.json").stat().st_mtime_ns
    both = run(["no-lexical"])
    assert [(name, seed) for name, seed, _ in both] == [("base", 0), ("no-lexical", 0)]
    assert both[0] == first[0]
    assert (tmp_path / "base-0.json").stat().st_mtime_ns == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base-0.json", "no-lexical-0.json"]
    result = json.loads((tmp_path / "no-lexical-0.json").read_text(encoding="utf-8"))
    assert result["steps"] == 2
    # Dev, and every eighth Doc of the training part that does not train.
    vocab = Vocab()
    dev, train = (load_docs(sample_corpus / f"{part}.spacy", vocab) for part in ("dev", "train"))
    scored = sum(1 for doc in [*dev, *train[2::8]] for _ in annotated_sentences(doc))
    assert len(result["context"]) == len(result["sentences"]) == len(result["argmax"]) == scored


def test_what_is_scored_is_what_the_pipeline_finds(sample_corpus, tiny_bert, tmp_path):
    train(
        CONFIG, sample_corpus, tmp_path, name="minilm", encoder_path=str(tiny_bert), max_steps=40
    )  # fmt: skip
    nlp = spacy.load(tmp_path / "model-best")
    docs = load_docs(sample_corpus / "test.spacy", nlp.vocab)
    found = map(scored_doc, docs, nlp.pipe(untagged_copy(doc) for doc in docs))
    counts = sentence_counts(found)
    assert counts.sum(axis=0).min() > 0
    assert score(tmp_path / "model-best", docs)["context"] == counts.tolist()


def test_unknown_variant(sample_corpus, tmp_path):
    with pytest.raises(InputError, match="There is no variant elmo: choose from base, "):
        list(ablate(CONFIG, sample_corpus, tmp_path, names=["elmo"], seeds=[0]))


def test_config_without_linear_ner(sample_corpus, tmp_path):
    stock = CONFIG.with_name("minilm-stock.cfg")
    with pytest.raises(InputError, match=r"\[components.ner\] of .* has factory ner: only "):
        list(ablate(stock, sample_corpus, tmp_path, names=["base"], seeds=[0]))


def test_strict_spans_drop_what_iob2_does_not_allow():
    tags = ["I-per", "B-geo", "I-geo", "I-per", "O", "B-tim", "I-geo", "B-org", "B-org"]
    assert strict_spans(tags) == [(1, 3, "geo"), (5, 6, "tim"), (7, 8, "org"), (8, 9, "org")]


def test_table():
    def result(right, wrong):
        counts = [[1, 0, 0]] * right + [[0, 1, 1]] * wrong
        by_label = {"art": 0.25}
        return {
            "context": counts,
            "argmax": [[0, 1, 1], *counts[1:]],
            "sentences": counts[::-1],
            "by_label": by_label,
            "words_per_second": 1234.5,
        }

    runs = [("base", 0, result(6, 4)), ("crf", 0, result(7, 3)), ("base", 1, result(8, 2))]
    lines = table(runs).splitlines()
    assert lines[2] == (
        "| base: configs/minilm.cfg as it is | 0, 1 | 70.00 |  | 70.00 | 25 / 0 / 0 | 1,234 |"
    )
    assert lines[3].startswith(
        "| base, the best tag of each word instead of the best sequence | 0, 1 | 60.00 | -10.00 ("
    )
    # Only seed 0 has both, so the gain is over that one.
    assert lines[4].startswith("| crf: CRF loss of both experts | 0 | 70.00 | +10.00 (")

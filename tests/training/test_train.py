import json
import re
from pathlib import Path

import pytest
import spacy
from spacy import util
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import Config

from gmb_ner.corpus.docs import write_docbin
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.training.train import (
    DEV_NOISE,
    Schedule,
    choose_weights,
    plan_schedule,
    train,
)

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))


def examples_of(lengths):
    vocab = spacy.blank("en").vocab
    docs = [Doc(vocab, ["word"] * length) for length in lengths]
    return [Example(Doc(vocab, [token.text for token in doc]), doc) for doc in docs]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_epoch_sees_every_example(path):
    settings = util.load_config(path)["training"]["batcher"]
    # Among them batches of exactly `size` padded words and one Doc above it.
    lengths = [settings["size"] // 10] * 35 + [*range(1, 300)] + [settings["size"] + 1]
    examples = examples_of(lengths)
    batcher = util.registry.resolve({"batcher": settings})["batcher"]
    seen = [id(example) for batch in batcher(examples) for example in batch]
    assert sorted(seen) == sorted(map(id, examples))


def test_the_trap_that_is_closed():
    # The batcher as `spacy init config --gpu` writes it loses batches of exactly its size.
    examples = examples_of([200] * 40)
    batcher = spacy.registry.batchers.get("spacy.batch_by_padded.v1")
    kept = batcher(size=2000, discard_oversize=True, buffer=256)
    assert sum(map(len, kept(examples))) < len(examples)


def test_schedule_counts_batches_by_making_them(sample_corpus):
    config = util.load_config(
        ROOT / "configs" / "cnn.cfg", {"paths.train": str(sample_corpus / "train.spacy")}
    )
    schedule = plan_schedule(config)
    manifest = json.loads((sample_corpus / "manifest.json").read_text(encoding="utf-8"))
    # Half of the Docs are on spaCy's own tokens, of which there are a few more.
    assert schedule.words_per_epoch == pytest.approx(manifest["parts"]["train"]["words"], rel=0.02)
    assert schedule.steps == schedule.steps_per_epoch * schedule.epochs
    assert plan_schedule(config, max_steps=3).steps == 3


def test_a_small_corpus_is_gone_through_more_often(sample_corpus):
    overrides = {"paths.train": str(sample_corpus / "train.spacy"), "training.max_epochs": 1}
    config = util.load_config(ROOT / "configs" / "cnn.cfg", overrides)
    schedule = plan_schedule(config)
    assert schedule.epochs > 1
    assert 300 <= schedule.steps < 300 + schedule.steps_per_epoch
    config["training"]["max_epochs"] = 10_000
    assert plan_schedule(config).epochs == 10_000


def test_schedule_overrides():
    schedule = Schedule(steps_per_epoch=100, epochs=2, steps=200, words_per_epoch=1000)
    assert schedule.words == 2000
    linear = Config({"training": {"optimizer": {"learn_rate": {"@schedules": "warmup_linear.v1"}}}})
    assert schedule.overrides(linear, 4) == {
        "training.max_epochs": 2,
        "training.eval_frequency": 50,
        "training.optimizer.learn_rate.total_steps": 200,
        "training.optimizer.learn_rate.warmup_steps": 20,
    }
    constant = Config({"training": {"optimizer": {"learn_rate": 0.001}}})
    assert schedule.overrides(constant, 4) == {
        "training.max_epochs": 2,
        "training.eval_frequency": 50,
    }


def test_train_records_how(sample_corpus, tmp_path, capsys):
    record = train(
        ROOT / "configs" / "cnn.cfg", sample_corpus, tmp_path, name="cnn", seed=7, max_steps=4
    )
    assert record == json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (record["config"], record["seed"], record["steps"]) == ("cnn", 7, 4)
    assert record["seconds"] > 0 and record["words_per_second"] > 0
    assert [point["step"] for point in record["curve"]] == [0, 1, 2, 3, 4]
    assert all(0 <= point["score"] <= 1 for point in record["curve"])
    # The last weights are weighed too, whatever the number of steps.
    told = " ".join(capsys.readouterr().out.split())
    assert "dev score of the last weights" in told and "model-best " in told
    nlp = spacy.load(tmp_path / "model-best")
    assert nlp.pipe_names == ["tok2vec", "ner"]
    assert sorted(nlp.get_pipe("ner").labels) == sorted(
        ["art", "eve", "geo", "gpe", "nat", "org", "per", "tim"]
    )
    assert nlp.config["system"]["seed"] == 7


def doctor(folder, name, f):
    """Let a trained pipeline's record say that it scored `f` on dev."""
    path = folder / name / "meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    meta["performance"]["ents_f"] = f
    path.write_text(json.dumps(meta), encoding="utf-8")


def test_last_weights_are_kept_unless_others_are_clearly_better(sample_corpus, tmp_path, capsys):
    train(ROOT / "configs" / "cnn.cfg", sample_corpus, tmp_path, name="cnn", max_steps=3)
    before = (tmp_path / "model-best" / "ner" / "model").read_bytes()
    # Other weights than the best ones, so that a change of place shows.
    last = spacy.load(tmp_path / "model-last")
    layer = last.get_pipe("ner").model.get_ref("lower")
    layer.set_param("b", layer.get_param("b") + 1)
    last.to_disk(tmp_path / "model-last")

    doctor(tmp_path, "model-best", 0.99)
    assert choose_weights(tmp_path) is False
    assert (tmp_path / "model-best" / "ner" / "model").read_bytes() == before

    (found,) = re.findall(r"last weights (\d\.\d+)", capsys.readouterr().out)[-1:]
    doctor(tmp_path, "model-best", float(found) + DEV_NOISE + 0.001)
    assert choose_weights(tmp_path) is False
    doctor(tmp_path, "model-best", float(found) + DEV_NOISE - 0.001)
    assert choose_weights(tmp_path) is True
    assert (tmp_path / "model-best" / "ner" / "model").read_bytes() != before
    meta = json.loads((tmp_path / "model-best" / "meta.json").read_text(encoding="utf-8"))
    assert meta["performance"]["ents_f"] >= 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "log.jsonl",
        "model-best",
        "model-last",
        "run.json",
    ]


def test_confidences_are_fitted_to_dev(sample_corpus, tmp_path, capsys):
    config = util.load_config(ROOT / "configs" / "cnn.cfg")
    config["components"]["ner"] = {
        "factory": "linear_ner",
        "model": {"@architectures": "gmb_ner.LexicalTagger.v1", "min_count": 1},
    }
    config["components"].pop("tok2vec")
    config["nlp"]["pipeline"] = ["ner"]
    config.to_disk(tmp_path / "lexical.cfg")
    train(tmp_path / "lexical.cfg", sample_corpus, tmp_path / "out", name="lexical", max_steps=9)
    nlp = spacy.load(tmp_path / "out" / "model-best")
    temperature = nlp.get_pipe("ner").temperature
    assert temperature != 1
    assert f"temperature {temperature:.3f}" in " ".join(capsys.readouterr().out.split())
    # The score on dev is still the one that the pipeline was chosen by.
    assert nlp.meta["performance"]["ents_f"] > 0


def test_own_config_is_taken_as_it_is(sample_corpus, tmp_path):
    config = util.load_config(ROOT / "configs" / "cnn.cfg")
    config["training"]["eval_frequency"] = 2
    config.to_disk(tmp_path / "mine.cfg")
    record = train(
        tmp_path / "mine.cfg", sample_corpus, tmp_path / "out", name="mine", max_steps=2, fit=False
    )
    assert record["steps"] is None and record["words_per_second"] is None
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.config["training"]["eval_frequency"] == 2


def test_settings_for_labels_that_the_corpus_lacks_are_left_out(sample_corpus, tiny_bert, tmp_path):
    for part in ("train", "dev"):
        docs = load_docs(sample_corpus / f"{part}.spacy", Vocab())
        for doc in docs:
            doc.set_ents([ent for ent in doc.ents if ent.label_ in ("geo", "art")])
        write_docbin(docs, tmp_path / f"{part}.spacy")
    config = ROOT / "configs" / "minilm.cfg"
    assert sorted(util.load_config(config)["components"]["ner"]["label_bias"]) == [
        "art", "eve", "nat"
    ]  # fmt: skip
    train(
        config, tmp_path, tmp_path / "out", name="minilm", encoder_path=str(tiny_bert), max_steps=2
    )  # fmt: skip
    nlp = spacy.load(tmp_path / "out" / "model-best")
    assert nlp.config["components"]["ner"]["label_bias"] == {"art": 1.0}


def test_no_converted_corpus(tmp_path):
    with pytest.raises(InputError, match=r"There is no file .*train\.spacy: make it with"):
        train(ROOT / "configs" / "cnn.cfg", tmp_path, tmp_path / "out", name="cnn")
    assert not (tmp_path / "out").exists()


def test_no_gpu(sample_corpus, tmp_path):
    with pytest.raises(InputError, match="GPU 99 cannot be used"):
        train(ROOT / "configs" / "cnn.cfg", sample_corpus, tmp_path, name="cnn", gpu_id=99)


def test_few_entities_fit_no_confidences(sample_corpus, tmp_path, monkeypatch, capsys):
    def trained(fewest):
        monkeypatch.setattr("gmb_ner.training.train.FEWEST_CALIBRATED", fewest)
        config = ROOT / "configs" / "bilstm.cfg"
        train(config, sample_corpus, tmp_path, name="bilstm", max_steps=2)
        temperature = spacy.load(tmp_path / "model-best").get_pipe("ner").temperature
        return temperature, " ".join(capsys.readouterr().out.split())

    temperature, said = trained(10_000)
    assert temperature == 1 and "the dev part has 63 entities" in said
    temperature, said = trained(63)
    assert temperature != 1 and "confidences fitted to dev" in said

import pytest
import spacy
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from gmb_ner.benchmark.pretraining import pretrain
from gmb_ner.benchmark.systems import SYSTEMS
from gmb_ner.benchmark.word_vectors import WIDTH, read_vectors, train_vectors, training_sentences
from gmb_ner.errors import InputError

PARTS = ("train", "dev")


@pytest.mark.parametrize("skip_gram", [False, True])
def test_word2vec_is_learned_from_the_training_part_alone(sample_corpus, tmp_path, skip_gram):
    settings = train_vectors(sample_corpus, tmp_path, 0, skip_gram=skip_gram)
    vectors = spacy.load(settings["paths.vectors"]).vocab.vectors
    counts: dict[str, int] = {}
    for doc in training_sentences(sample_corpus):
        for token in doc:
            counts[token.text] = counts.get(token.text, 0) + 1
    known = {vectors.strings[key] for key in vectors}
    assert known == {word for word, count in counts.items() if count >= 2}
    assert vectors.shape[1] == WIDTH
    # What is there is not made again.
    assert train_vectors(sample_corpus, tmp_path, 1, skip_gram=skip_gram) == settings


@pytest.mark.parametrize("header", ["", "3 2\n"])
def test_vectors_of_a_text_file(tmp_path, header):
    file = tmp_path / "vectors.txt"
    file.write_text(f"{header}the 1.0 2.0\nOslo 0.5 -1\n. . 3 4\n", encoding="utf-8")
    settings = read_vectors(tmp_path, tmp_path, 0, file=file)
    vocab = spacy.load(settings["paths.vectors"]).vocab
    assert vocab["Oslo"].vector.tolist() == [0.5, -1]
    assert vocab[". ."].vector.tolist() == [3, 4]
    assert not vocab["oslo"].has_vector


@pytest.mark.parametrize("text", ["", "the 1.0 2.0\nOslo 0.5 x\n", "the 1.0 2.0\nOslo 0.5\n"])
def test_a_file_without_vectors(tmp_path, text):
    file = tmp_path / "vectors.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"vectors\.txt holds no word vectors"):
        read_vectors(tmp_path, tmp_path, 0, file=file)
    assert not (tmp_path / "vectors").exists()


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_vectors(tmp_path, tmp_path, 0, file=tmp_path / "glove.txt")


def test_a_tok2vec_is_pretrained(sample_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("gmb_ner.benchmark.pretraining.EPOCHS", 1)
    settings = pretrain(sample_corpus, tmp_path, 0)
    assert list(tmp_path.iterdir()) == [tmp_path / "tok2vec.bin"]
    assert settings == {"paths.init_tok2vec": (tmp_path / "tok2vec.bin").as_posix()}
    # The training of its row begins with them: spaCy leaves them out without a word where its
    # config has no section for pretraining.
    paths = {f"paths.{part}": (sample_corpus / f"{part}.spacy").as_posix() for part in PARTS}
    config = f"configs/{SYSTEMS['cnn-pretrained'].config}.cfg"
    nlp = init_nlp(load_config(config, {**paths, **settings}))
    learned = (tmp_path / "tok2vec.bin").read_bytes()
    assert nlp.get_pipe("tok2vec").model.to_bytes() == learned

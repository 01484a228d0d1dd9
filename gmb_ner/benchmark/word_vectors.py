"""Word vectors: word2vec learned from the training part, GloVe and others read from a text file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import Doc
from spacy.training.initialize import convert_vectors
from spacy.vocab import Vocab

from gmb_ner.corpus.docs import annotated_sentences
from gmb_ner.errors import InputError
from gmb_ner.evaluation.files import load_docs
from gmb_ner.files import atomic_path, work_folder

WIDTH, WINDOW, EPOCHS, MIN_COUNT = 100, 10, 10, 2
MOST = 200_000  # vectors that are kept of a file


def training_sentences(corpus: Path) -> Iterator[Doc]:
    """The sentences of the training part, and of no other."""
    for doc in load_docs(corpus / "train.spacy", Vocab()):
        yield from annotated_sentences(doc)


def train_vectors(corpus: Path, folder: Path, seed: int, *, skip_gram: bool) -> dict[str, Any]:
    """Learn word2vec (Mikolov et al. 2013) from the words of the training part.

    100 dimensions, window of 10 words, 10 epochs, words seen twice. Returns the config's settings.
    """
    from gensim.models import Word2Vec

    text = folder / "word2vec.txt"
    if not text.is_file():
        sentences = [[token.text for token in doc] for doc in training_sentences(corpus)]
        model = Word2Vec(
            sentences,
            vector_size=WIDTH,
            window=WINDOW,
            sg=int(skip_gram),
            epochs=EPOCHS,
            min_count=MIN_COUNT,
            seed=seed,
            workers=1,  # more threads give other vectors each time
        )
        with atomic_path(text) as part:
            model.wv.save_word2vec_format(str(part))
    return read_vectors(corpus, folder, seed, file=text)


def read_vectors(corpus: Path, folder: Path, seed: int, *, file: Path) -> dict[str, Any]:
    """Make a pipeline of vectors from a text file, one word a line, as GloVe and word2vec write it.

    Of a file with more than `MOST` words the first are kept, which are the frequent ones. Returns
    the config's settings. Raises InputError for a file that holds no vectors.
    """
    made = folder / "vectors"
    if not made.is_dir():
        if not file.is_file():
            raise InputError(f"There is no file {file}: name a text file of word vectors.")
        nlp = spacy.blank("en")
        try:
            convert_vectors(nlp, file, truncate=MOST, prune=-1, name=file.stem)
        except (ValueError, RuntimeError) as error:  # the latter of an empty file
            raise InputError(
                f"{file} holds no word vectors ({error or 'it is empty'}): give a word and its "
                "numbers, as many as of the others, on each line, between single spaces."
            ) from error
        with work_folder(made) as work:
            nlp.to_disk(work / "vectors")
            (work / "vectors").replace(made)
    return {"paths.vectors": made.as_posix()}

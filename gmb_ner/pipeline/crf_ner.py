"""A conditional random field on hand-made features: what named entities were found with before.

CRFsuite learns it (Okazaki 2007), from the features of `gmb_ner.pipeline.lexical`. What it learned
is then read by the same code as the lexical expert of `linear_ner`, all words at once, so that a
trained pipeline needs no CRFsuite and has the same exact confidences.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import srsly
from numpy.typing import NDArray
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_get_examples
from spacy.util import SimpleFrozenList, minibatch
from spacy.vocab import Vocab

from gmb_ner.pipeline.decoding import tag_names
from gmb_ner.pipeline.entities import (
    Threshold,
    find_entities,
    register_confidence,
)
from gmb_ner.pipeline.entity_pipe import EntityPipe, Predict
from gmb_ner.pipeline.gold import gold_tags
from gmb_ner.pipeline.lexical import keys_of
from gmb_ner.pipeline.lexical_tagger import SparseLinear

READ_DOCS = 256  # at once, in training


@Language.factory(
    "crf_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"],
    default_config={
        "l1": 0.0,
        "l2": 0.1,
        "min_count": 4,
        "max_iterations": 100,
        "label_bias": {},
        "threshold": 0.0,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def create_crf_ner(
    nlp: Language,
    name: str,
    l1: float,
    l2: float,
    min_count: int,
    max_iterations: int,
    label_bias: dict[str, float],
    threshold: float,
    scorer: Callable | None,
) -> "CrfNER":
    """Create the component; `initialize` trains it, at once, on all Examples.

    l1, l2 (float): how much absolute and squared weights cost.
    min_count (int): features seen less often are left out.
    max_iterations (int): of L-BFGS (orthant-wise if l1 is not 0).
    label_bias (Dict[str, float]), threshold (float): as of `linear_ner`.
    scorer (Optional[Callable]): of the entities.
    """
    return CrfNER(
        nlp.vocab,
        name,
        l1=l1,
        l2=l2,
        min_count=min_count,
        max_iterations=max_iterations,
        label_bias=label_bias,
        threshold=threshold,
        scorer=scorer,
    )


class CrfNER(EntityPipe):
    """See `create_crf_ner`; Docs get what `linear_ner` gives them.

    table: the weights of the features by tag.
    transition: (tags, tags) learned scores from row to column.
    """

    threshold = Threshold()

    def __init__(
        self,
        vocab: Vocab,
        name: str = "crf_ner",
        *,
        l1: float = 0.0,
        l2: float = 0.1,
        min_count: int = 4,
        max_iterations: int = 100,
        label_bias: dict[str, float] | None = None,
        threshold: float = 0.0,
        scorer: Callable | None = None,
    ) -> None:
        if l1 < 0 or l2 < 0:
            raise ValueError(f"l1 and l2 are 0 or more, not {l1} and {l2}.")
        self.vocab, self.name, self.scorer = vocab, name, scorer
        self.l1, self.l2 = l1, l2
        self.min_count, self.max_iterations = min_count, max_iterations
        self.label_bias, self.threshold = dict(label_bias or {}), threshold
        self._labels: tuple[str, ...] = ()
        self.table = SparseLinear(0.0)
        self.transition: NDArray[np.float64] = np.zeros((1, 1))
        register_confidence()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their tags."""
        return self._labels

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Take the labels from the data, or as given, and learn.

        Each stretch of annotated tokens is a sequence. Raises ValueError where there is no label,
        ImportError where python-crfsuite is missing.
        """
        validate_get_examples(get_examples, "CrfNER.initialize")
        try:
            import pycrfsuite
        except ImportError as error:
            raise ImportError(
                f"{self.name} is trained with python-crfsuite: pip install 'gmb-ner[train]'."
            ) from error
        if labels is None:
            labels = sorted({e.label_ for eg in get_examples() for e in eg.reference.ents})
        if not labels:
            raise ValueError(Errors.E143.format(name=self.name))
        self._labels = tuple(labels)
        for label in self.labels:
            self.vocab.strings.add(label)
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        trainer.set_params(
            {
                **{"c1": self.l1, "c2": self.l2, "max_iterations": self.max_iterations},
                **{"feature.minfreq": self.min_count, "feature.possible_transitions": True},
            }
        )
        for features, tags in self._sequences(get_examples()):
            trainer.append(features, tags)
        with TemporaryDirectory() as folder:
            model = Path(folder) / "model.crfsuite"
            trainer.train(str(model))
            tagger = pycrfsuite.Tagger()
            tagger.open(str(model))
            learned = tagger.info()
            tagger.close()
        self._take(learned.state_features, learned.transitions)

    def _sequences(
        self, examples: Iterable[Example]
    ) -> Iterator[tuple[list[list[str]], list[str]]]:
        """The features and tags of each stretch of annotated tokens."""
        tags = tag_names(self.labels)
        indices = {tag: i for i, tag in enumerate(tags)}
        for batch in minibatch(examples, READ_DOCS):
            keys = keys_of(self.table.features([example.predicted for example in batch]))
            end = 0
            for example in batch:
                gold = gold_tags(example, indices)
                start, end = end, end + len(gold)
                for part in _stretches(gold >= 0):
                    rows = keys[start + part.start : start + part.stop].tolist()
                    yield (
                        [list(map(str, row)) for row in rows],
                        [tags[i] for i in gold[part].tolist()],
                    )

    def _take(
        self,
        weights: dict[tuple[str, str], float],
        transitions: dict[tuple[str, str], float],
    ) -> None:
        """Take what CRFsuite learned, by feature and tag, and by a tag and the next."""
        indices = {tag: i for i, tag in enumerate(tag_names(self.labels))}
        keys = np.array([int(feature) for feature, _ in weights], dtype=np.uint32)
        columns = [indices[tag] for _, tag in weights]
        self.table.keys, rows = np.unique(keys, return_inverse=True)
        self.table.reset(len(indices))
        self.table.weights[rows, columns] = list(weights.values())
        # As they are saved.
        self.table.from_bytes(self.table.to_bytes())
        self.transition = np.zeros((len(indices), len(indices)))
        for (before, after), score in transitions.items():
            self.transition[indices[before], indices[after]] = score

    def begin(self, docs: list[Doc]) -> Predict:
        """See `EntityPipe.begin`; raises ValueError before `initialize` (E109)."""
        if not self.labels:
            raise ValueError(Errors.E109.format(name=self.name))
        return partial(
            find_entities,
            docs,
            self.table.score(docs),
            self.labels,
            learned=self.transition,
            label_bias=self.label_bias,
            threshold=self.threshold,
        )

    def to_bytes(self, *, exclude: Iterable[str] = SimpleFrozenList()) -> bytes:
        """The component as bytes."""
        data: bytes = util.to_bytes({"model": self._message}, exclude)
        return data

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = SimpleFrozenList()) -> "CrfNER":
        """Load the component from bytes."""
        util.from_bytes(data, {"model": self._read}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()) -> None:
        """Write the component to a folder."""
        writers = {"model": lambda file: file.write_bytes(self._message())}
        util.to_disk(path, writers, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> "CrfNER":
        """Load the component from a folder."""
        util.from_disk(path, {"model": lambda file: self._read(file.read_bytes())}, exclude)
        return self

    def _message(self) -> bytes:
        message = {"labels": list(self.labels), "transition": self.transition}
        data: bytes = srsly.msgpack_dumps(message | {"table": self.table.to_bytes()})
        return data

    def _read(self, data: bytes) -> None:
        message = srsly.msgpack_loads(data)
        self._labels, self.transition = tuple(message["labels"]), message["transition"]
        self.table.from_bytes(message["table"])
        for label in self.labels:
            self.vocab.strings.add(label)


def _stretches(known: NDArray[np.bool_]) -> list[slice]:
    """Where each unbroken run of True begins and ends."""
    changes = np.flatnonzero(np.diff(known, prepend=False, append=False)).tolist()
    return [slice(start, stop) for start, stop in zip(changes[::2], changes[1::2], strict=True)]

"""The recognizer without torch: encoder and tag scores as one ONNX graph, run by onnxruntime.

Made by `gmb_ner.deploy.export` from a trained pipeline. Windows, lexical expert, decoding and
confidences are the same code as there.
"""

import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import SimpleFrozenList
from spacy.vocab import Vocab

from gmb_ner.pipeline.bert_tokenizer import encode_words_with
from gmb_ner.pipeline.entities import (
    Threshold,
    find_entities,
    register_confidence,
)
from gmb_ner.pipeline.entity_pipe import EntityPipe, Predict
from gmb_ner.pipeline.lexical_tagger import SparseLinear
from gmb_ner.pipeline.losses import log_softmax
from gmb_ner.pipeline.onnx_graph import OnnxGraph
from gmb_ner.pipeline.wordpieces import WordPieces

PARTS = ("cfg", "graph", "tokenizer", "lexical")  # what is saved; the last may be missing


@Language.factory(
    "onnx_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"],
    default_config={
        "label_bias": {},
        "threshold": 0.0,
        "threads": 0,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def create_onnx_ner(
    nlp: Language,
    name: str,
    label_bias: dict[str, float],
    threshold: float,
    threads: int,
    scorer: Callable | None,
) -> "OnnxNER":
    """Create the component; it gets its graph by loading.

    label_bias (Dict[str, float]), threshold (float): as of `linear_ner`.
    threads (int): so many groups of windows are read at the same time, each on one core; 0 for
        one a core.
    scorer (Optional[Callable]): of the entities.
    """
    return OnnxNER(
        nlp.vocab,
        name,
        label_bias=label_bias,
        threshold=threshold,
        threads=threads,
        scorer=scorer,
    )


class OnnxNER(EntityPipe):
    """See `create_onnx_ner`; Docs get what `linear_ner` gives them.

    After loading, it holds
        cfg: labels, temperature; window and context, in pieces; start_id, end_id and pad_id of the
            special pieces; prefix, put before each word; pooling, of a word's pieces;
        graph: the ONNX file's bytes, see `gmb_ner.pipeline.onnx_graph`;
        tokenizer: the JSON of a tokenizer of the library tokenizers;
        lexical: the lexical expert, or None.
    """

    threshold = Threshold()

    def __init__(
        self,
        vocab: Vocab,
        name: str = "onnx_ner",
        *,
        label_bias: dict[str, float] | None = None,
        threshold: float = 0.0,
        threads: int = 0,
        scorer: Callable | None = None,
    ) -> None:
        if threads < 0:
            raise ValueError(f"threads is at least 0, not {threads}.")
        self.vocab, self.name, self.scorer = vocab, name, scorer
        self.label_bias, self.threshold = dict(label_bias or {}), threshold
        self.threads = threads
        self.cfg: dict[str, Any] = {"labels": []}
        self.graph, self.tokenizer = b"", ""
        self.lexical: SparseLinear | None = None
        self.encoder: OnnxGraph | None = None
        self.word_pieces: WordPieces | None = None
        register_confidence()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def works_ahead(self) -> bool:
        """Other threads do, if there are any."""
        return self._thread_count > 1

    def begin(self, docs: list[Doc]) -> Predict:
        """See `EntityPipe.begin`; raises ValueError before a graph is loaded (E109)."""
        score = self._begin_scores(docs)
        return lambda: find_entities(
            docs,
            score(),
            self.labels,
            temperature=self.cfg.get("temperature", 1.0),
            label_bias=self.label_bias,
            threshold=self.threshold,
        )

    def tag_scores(self, docs: list[Doc]) -> NDArray[np.float32]:
        """Log probabilities (words of all Docs, tags) up to a constant; of experts, their sum.

        Raises ValueError before a graph is loaded (E109).
        """
        return self._begin_scores(docs)()

    def _begin_scores(self, docs: list[Doc]) -> Callable[[], NDArray[np.float32]]:
        if self.encoder is None or self.word_pieces is None:
            raise ValueError(Errors.E109.format(name=self.name))
        batch = self.word_pieces(docs)
        # Where each word's pieces begin in the list of all.
        begins = np.cumsum(batch.align_lengths) - batch.align_lengths
        mean = self.cfg["pooling"] == "mean"
        places = batch.align if mean else batch.align[begins]
        read = self.encoder.begin(batch, places, self._thread_count)
        # While the windows are read.
        lexical = 0.0 if self.lexical is None else log_softmax(self.lexical.score(docs))

        def score() -> NDArray[np.float32]:
            scores = read()
            if mean and len(begins):
                sums = np.add.reduceat(scores, begins)
                scores = (sums / batch.align_lengths[:, None]).astype(np.float32)
            return log_softmax(scores) + lexical

        return score

    @property
    def _thread_count(self) -> int:
        return self.threads or os.cpu_count() or 1

    def set_graph(
        self, cfg: dict[str, Any], graph: bytes, tokenizer: str, lexical: SparseLinear | None
    ) -> None:
        """Take everything that is loaded or exported; see the class.

        Raises ImportError with a sentence where onnxruntime is not installed, or tokenizers, which
        only encoders need whose pieces are not BERT's.
        """
        try:
            import onnxruntime  # noqa: F401 (the graph needs it)

            encode_words = encode_words_with(tokenizer, cfg["prefix"])
        except ImportError as error:
            source = "tokenizers" if error.name == "tokenizers" else "'gmb-ner[onnx]'"
            raise ImportError(f"{self.name} needs {error.name}: pip install {source}.") from error
        self.cfg, self.graph, self.tokenizer, self.lexical = cfg, graph, tokenizer, lexical
        for label in self.labels:
            self.vocab.strings.add(label)
        try:
            self.encoder = OnnxGraph(graph, 1 + 2 * len(self.labels))
        except Exception as error:  # onnxruntime's own have no other base
            raise ValueError(
                f"The graph of {self.name} is damaged, or of another onnxruntime ({error}): copy "
                "or export it again."
            ) from error
        self.word_pieces = WordPieces(
            encode_words,
            start_id=cfg["start_id"],
            end_id=cfg["end_id"],
            pad_id=cfg["pad_id"],
            size=cfg["window"],
            context=cfg["context"],
        )

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()) -> None:
        """Write the component to a folder."""

        def write(value: bytes, file: Path) -> None:
            file.write_bytes(value)

        writers: dict[str, Callable[[Path], None]] = {
            key: partial(write, value) for key, value in self._parts().items()
        }
        util.to_disk(path, writers, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> "OnnxNER":
        """Load the component from a folder."""
        parts: dict[str, bytes] = {}

        def read(key: str, file: Path) -> None:
            parts[key] = file.read_bytes()

        keys = [key for key in PARTS if (util.ensure_path(path) / key).is_file()]
        util.from_disk(path, {key: partial(read, key) for key in keys}, exclude)
        self._take(parts)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = SimpleFrozenList()) -> bytes:
        """The component as bytes."""
        data: bytes = util.to_bytes(
            {key: partial(bytes, value) for key, value in self._parts().items()}, exclude
        )
        return data

    def from_bytes(self, data: bytes, *, exclude: Iterable[str] = SimpleFrozenList()) -> "OnnxNER":
        """Load the component from bytes."""
        parts: dict[str, bytes] = {}
        util.from_bytes(data, {key: partial(parts.__setitem__, key) for key in PARTS}, exclude)
        self._take(parts)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the session is made of, as it cannot be pickled; for spawned processes."""
        settings = {
            "label_bias": self.label_bias,
            "threshold": self.threshold,
            "threads": self.threads,
            "scorer": self.scorer,
        }
        handler = getattr(self, "error_handler", None)  # where `set_error_handler` was called
        return _unpickled, (self.vocab, self.name, settings, self.to_bytes(), handler)

    def _parts(self) -> dict[str, bytes]:
        parts = {
            "cfg": json.dumps(self.cfg).encode(),
            "graph": self.graph,
            "tokenizer": self.tokenizer.encode(),
        }
        if self.lexical is not None:
            parts["lexical"] = self.lexical.to_bytes()
        return parts

    def _take(self, parts: dict[str, bytes]) -> None:
        if not parts.get("graph"):
            return
        lexical = None
        if "lexical" in parts:
            lexical = SparseLinear(0.0).from_bytes(parts["lexical"])
        self.set_graph(
            json.loads(parts["cfg"]), parts["graph"], parts["tokenizer"].decode(), lexical
        )


def _unpickled(
    vocab: Vocab,
    name: str,
    settings: dict[str, Any],
    data: bytes,
    error_handler: Callable | None,
) -> OnnxNER:
    component = OnnxNER(vocab, name, **settings).from_bytes(data)
    if error_handler is not None:
        component.set_error_handler(error_handler)
    return component

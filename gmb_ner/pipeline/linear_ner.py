"""A named entity recognizer for encoders: linear tag scores, exact decoding, exact confidences.

Stands where spaCy's `ner` does: same `doc.ents`, same listeners, same scorer. Every score of a
batch is decoded at once, where `ner` steps through a state machine token by token.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
from spacy.errors import Errors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import minibatch
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats2d
from thinc.util import to_numpy

from gmb_ner.pipeline.calibrate import fit_temperature
from gmb_ner.pipeline.decoding import constraints, tag_names
from gmb_ner.pipeline.entities import (
    ScoredSpan,
    Threshold,
    begin_entities,
    by_tag,
    pad_rows,
    register_confidence,
)
from gmb_ner.pipeline.entity_pipe import EntityPipe, Predict
from gmb_ner.pipeline.gold import MISSING, gold_tags
from gmb_ner.pipeline.losses import crf_negative_log_likelihood, cross_entropy, log_softmax
from gmb_ner.pipeline.rows import predict_rows

LOSSES = ("cross_entropy", "crf")
INIT_DOCS = 10  # of which the model's widths are inferred
COUNTED_DOCS = 256  # a batch, where features are counted

DEFAULT_MODEL = """
[model]
@architectures = "gmb_ner.LinearTagger.v1"
hidden_width = 0
dropout = 0.1

[model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
pretrained_vectors = null
width = 96
depth = 4
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true
"""


@Language.factory(
    "linear_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"],
    default_config={
        "model": Config().from_str(DEFAULT_MODEL)["model"],
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "class_weights": {},
        "label_bias": {},
        "threshold": 0.0,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def create_linear_ner(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats2d]],
    loss: str | list[str],
    label_smoothing: float,
    class_weights: dict[str, float],
    label_bias: dict[str, float],
    threshold: float,
    scorer: Callable | None,
) -> "LinearNER":
    """Create the component.

    model (Model[List[Doc], List[Floats2d]]): scores of the tags of each word, as
        `gmb_ner.LinearTagger.v1`, `gmb_ner.LexicalTagger.v1` or, for both, `ExpertTaggers.v1`.
    loss (Union[str, List[str]]): "cross_entropy" of each token, or "crf", of each Doc's tag
        sequence, with transitions if the model learns them; of experts, one for all or a list with
        one for each.
    label_smoothing (float): see `gmb_ner.pipeline.losses.cross_entropy`; no part of "crf".
    class_weights (Dict[str, float]): how much tokens of a label count, 1 where not given; no part
        of "crf".
    label_bias (Dict[str, float]): added to the log probabilities (nats) of a label's tags where
        entities are chosen, 0 where not given. The choice that makes the F1 of a label highest
        takes all above half that F1 (Lipton, Elkan and Narayanaswamy 2014), for a label that is
        hard to find far below one half. Confidences do not heed it.
    threshold (float): entities with less confidence are left out, in [0, 1].
    scorer (Optional[Callable]): of the entities.
    """
    return LinearNER(
        nlp.vocab,
        model,
        name,
        loss=loss,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        label_bias=label_bias,
        threshold=threshold,
        scorer=scorer,
    )


class LinearNER(EntityPipe, TrainablePipe):
    """See `create_linear_ner`.

    After a call, `doc.spans["ner"]` holds the predicted entities and, in `attrs["scores"]`, their
    confidences: the probability, by the model, that an entity with exactly these borders and this
    label stands there, among all tag sequences that IOB2 allows. `span._.confidence` reads them.
    Entities that a Doc had before stay, as with spaCy's `ner`; they have a confidence where the
    component finds the very same.
    """

    threshold = Threshold()

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats2d]],
        name: str = "linear_ner",
        *,
        loss: str | Sequence[str] = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weights: dict[str, float] | None = None,
        label_bias: dict[str, float] | None = None,
        threshold: float = 0.0,
        scorer: Callable | None = get_ner_prf,
    ) -> None:
        losses = [loss] if isinstance(loss, str) else list(loss)
        for one in losses:
            if one not in LOSSES:
                raise ValueError(f"loss is {one!r}: choose one of {', '.join(LOSSES)}.")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is a share in [0, 1), not {label_smoothing}.")
        class_weights = dict(class_weights or {})
        for label, weight in class_weights.items():
            if not 0 <= weight < float("inf"):
                raise ValueError(f"class_weights are 0 or more; that of {label} is {weight}.")
        if "cross_entropy" not in losses and (label_smoothing or class_weights):
            raise ValueError(
                "label_smoothing and class_weights belong to loss cross_entropy: leave them out "
                "with crf."
            )
        self.vocab, self.model, self.name, self.scorer = vocab, model, name, scorer
        self.losses, self.label_smoothing = losses, label_smoothing
        self.class_weights, self.label_bias = class_weights, dict(label_bias or {})
        self.threshold = threshold
        # What is learned or fitted beside the model's weights; saved with the component.
        self.cfg: dict[str, Any] = {"labels": [], "temperature": 1.0}
        register_confidence()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def tags(self) -> list[str]:
        """The tags, in the order of the model's scores; see `decoding.tag_names`."""
        return tag_names(self.labels)

    @property
    def label_data(self) -> list[str]:
        """What `initialize.components.NAME.labels` expects."""
        return list(self.labels)

    @property
    def temperature(self) -> float:
        """By which tag scores are divided for confidences (Guo et al. 2017)."""
        return float(self.cfg["temperature"])

    def add_label(self, label: str) -> int:
        """Add a label before `initialize`; 1 if it is new, else 0.

        Raises ValueError after it: the output layer has as many tags as the labels need.
        """
        if not isinstance(label, str):
            raise ValueError(Errors.E187)
        if label in self.labels:
            return 0
        if self._is_initialized:
            raise ValueError(
                f"{self.name} knows {', '.join(self.labels)} and cannot learn {label!r} as well: "
                "give all labels before initialize, or train anew on data that has them."
            )
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        return 1

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Take the labels from the data, or as given, and initialize the model.

        get_examples: all training Examples; features of the words are counted on them.
        Raises ValueError where neither has a label; warns where class_weights or label_bias names
        another.
        """
        validate_get_examples(get_examples, "LinearNER.initialize")
        if labels is None:
            labels = sorted({e.label_ for eg in get_examples() for e in eg.reference.ents})
        for label in labels:
            self.add_label(label)
        if not self.labels:
            raise ValueError(Errors.E143.format(name=self.name))
        for setting in ("class_weights", "label_bias"):
            if unknown := sorted(set(getattr(self, setting)) - set(self.labels)):
                # No error, as the configs name the corpus' rare labels and serve others too.
                warnings.warn(
                    f"{setting} of {self.name} names {', '.join(unknown)}, and its labels are "
                    f"{', '.join(self.labels)}: that has no effect.",
                    stacklevel=2,
                )
        for layer in self.model.walk():
            if "count_features" in layer.attrs:
                docs = (example.predicted for example in get_examples())
                layer.attrs["count_features"](layer, minibatch(docs, COUNTED_DOCS))
        sample = [example.predicted for example in islice(get_examples(), INIT_DOCS)]
        tags = len(self.tags)
        self.model.initialize(
            X=sample, Y=[self.model.ops.alloc2f(len(doc), tags) for doc in sample]
        )
        # What was fitted to other weights does not fit these.
        self.cfg |= {"initialized": True, "temperature": 1.0}

    @property
    def works_ahead(self) -> bool:
        """A GPU does."""
        return self.model.ops.xp is not np

    def begin(self, docs: list[Doc]) -> Predict:
        """See `EntityPipe.begin`; raises ValueError before `initialize` (E109)."""
        return self._begin_decoding(docs, self.tag_scores(docs))

    def tag_scores(self, docs: list[Doc]) -> Floats2d:
        """Log probabilities (words of all Docs, tags) up to a constant; of experts, their sum.

        Raises ValueError before `initialize` (E109).
        """
        if not self._is_initialized:
            raise ValueError(Errors.E109.format(name=self.name))
        if not any(len(doc) for doc in docs):
            return self.model.ops.alloc2f(0, len(self.tags))
        outputs = predict_rows(self.model, docs)
        pooled: Floats2d = sum(log_softmax(part) for part in self._split(outputs))
        return pooled

    def decode(self, docs: list[Doc], scores: Floats2d) -> list[list[ScoredSpan]]:
        """The entities of `tag_scores`, with their confidences, by the settings at hand."""
        return self._begin_decoding(docs, scores)()

    def _begin_decoding(self, docs: list[Doc], scores: Floats2d) -> Predict:
        return begin_entities(
            docs,
            scores,
            self.labels,
            learned=sum(to_numpy(layer.get_param("T")) for layer in self._transitions.values()),
            temperature=self.temperature,
            label_bias=self.label_bias,
            threshold=self.threshold,
        )

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """The loss in nats a known token, summed over experts, and its gradient by the scores.

        Raises ValueError where there are neither one loss nor as many as experts.
        """
        examples = list(examples)
        validate_examples(examples, "LinearNER.get_loss")
        if not examples:
            return 0.0, []
        gold = self._gold(examples)
        experts = self._split(self.model.ops.flatten(scores))
        losses = self.losses * len(experts) if len(self.losses) == 1 else self.losses
        if len(losses) != len(experts):
            raise ValueError(
                f"{self.name} has {len(experts)} experts and {len(losses)} losses: give one loss "
                "for all, or one for each."
            )
        loss, gradients = 0.0, []
        for i, (kind, part) in enumerate(zip(losses, experts, strict=True)):
            expert_loss, gradient = self._expert_loss(kind, part, gold, self._transitions.get(i))
            loss += expert_loss
            gradients.append(gradient)
        return loss, self._by_doc(self.model.ops.xp.hstack(gradients), [len(part) for part in gold])

    def rehearse(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Not supported: raises NotImplementedError."""
        raise NotImplementedError(
            f"{self.name} cannot rehearse: mix examples of the earlier training into the new one."
        )

    def calibrate(self, examples: Iterable[Example], *, batch_size: int = 64) -> float:
        """Fit the temperature to Examples that were not trained on, and return it.

        The Examples' predicted Docs must have what the model reads: the output of the encoder, if
        it listens to one. Raises ValueError before `initialize` (E109).
        """
        batches = []
        for batch in minibatch(examples, batch_size):
            docs = [example.predicted for example in batch]
            lengths = np.array([len(doc) for doc in docs])
            scores, _ = pad_rows(self.tag_scores(docs), lengths)
            batches.append((scores, lengths, _pad_gold(self._gold(batch))))
        start, transition = constraints(self.labels)
        for layer in self._transitions.values():
            transition += to_numpy(layer.get_param("T"))
        # JSON keeps ten digits; with four the loaded component is exactly like this one.
        self.cfg["temperature"] = round(fit_temperature(batches, start, transition), 4)
        return self.temperature

    @property
    def _is_initialized(self) -> bool:
        return bool(self.cfg.get("initialized"))

    @property
    def _transitions(self) -> dict[int, Model]:
        """The layers of learned transitions, by the number of their expert."""
        experts = self.model.layers if self.model.name == "expert_taggers" else [self.model]
        return {
            i: expert.get_ref("transitions")
            for i, expert in enumerate(experts)
            if expert.has_ref("transitions")
        }

    def _gold(self, examples: Iterable[Example]) -> list[np.ndarray]:
        indices = {tag: i for i, tag in enumerate(self.tags)}
        return [gold_tags(example, indices) for example in examples]

    def _split(self, output: Floats2d) -> list[Floats2d]:
        """The (words, tags) scores of each expert."""
        tags = len(self.tags)
        return [output[:, i : i + tags] for i in range(0, output.shape[1], tags)]

    def _by_doc(self, rows: Floats2d, lengths: list[int]) -> list[Floats2d]:
        sizes: Any = np.array(lengths, dtype=np.int32)
        parts: list[Floats2d] = self.model.ops.unflatten(rows, sizes)
        return parts

    def _expert_loss(
        self, kind: str, scores: Floats2d, gold: list[np.ndarray], transitions: Model | None
    ) -> tuple[float, Floats2d]:
        """The loss of (words of all Docs, tags) scores, and its gradient in the same shape.

        transitions: the layer of the expert's learned ones, which takes its own gradient.
        """
        xp = self.model.ops.xp
        if kind == "crf":
            lengths = np.array([len(part) for part in gold])
            padded, inside = pad_rows(scores, lengths)
            start, transition = constraints(self.labels)
            learned = None
            if transitions is not None:
                transition += to_numpy(transitions.get_param("T"))
                learned = np.zeros_like(transition)
            loss, gradient = crf_negative_log_likelihood(
                padded, _pad_gold(gold), lengths, start, transition, learned
            )
            if transitions is not None:
                transitions.inc_grad("T", xp.asarray(learned, dtype="f4"))
            return loss, xp.asarray(gradient[inside])
        return cross_entropy(
            scores,
            xp.asarray(np.concatenate(gold)),
            xp.asarray(by_tag(self.labels, self.class_weights, 1.0)),
            self.label_smoothing,
        )


def _pad_gold(gold: list[np.ndarray]) -> np.ndarray:
    padded = np.full((len(gold), max(len(part) for part in gold)), MISSING, dtype=np.int64)
    for i, part in enumerate(gold):
        padded[i, : len(part)] = part
    return padded

"""The first system of the study that this project grew from, with its mistake and without.

W. Lin and J. Liu, "Named Entity Recognition with pretrained BERT" (EE 599 Deep Learning, 2020):
words become word pieces, of which all but a word's first are labelled X, and the special ones [CLS]
and [SEP]; sequences are padded to 52 pieces; on the features of a frozen encoder stand a GRU of 10
units, a layer of 100 rectified ones and a softmax over 20 labels. Its loss counted the padding too.
Of what the padding was labelled the study says nothing; here it is O.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from thinc.api import Linear, Model, Optimizer, PyTorchWrapper, Relu, chain
from thinc.types import Floats2d

from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.losses import cross_entropy

CONTINUED, START, END = range(3)  # labels of pieces, after the tags of words
PIECE_LABELS = ("X", "[CLS]", "[SEP]")

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray, which share no type


@spacy.registry.architectures("gmb_ner.StudyTagger.v1")
def create_study_tagger(
    encoder: Model,
    width: int = 768,
    units: int = 10,
    hidden_width: int = 100,
    nO: int | None = None,
) -> Model[list[Doc], list[Floats2d]]:
    """Create the model: (words, tags) scores for each Doc.

    encoder (Model[List[Doc], FullTransformerBatch]): `gmb_ner.TransformerModel.v1`, whose window is
        the length of all sequences. It stays as it is. Longer Docs are read in several windows,
        where the study cut them off.
    width (int): of the encoder.
    units (int): of the GRU; hidden_width (int): of the layer on it.
    nO (int): tags, known from the data otherwise.
    """
    # Only now, as it brings torch.
    from torch import Tensor, nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(width, units, batch_first=True)

        def forward(self, features: Tensor) -> Tensor:
            outputs: Tensor = self.gru(features)[0]
            return outputs

    recurrent: Model[Array, Array] = PyTorchWrapper(Recurrent())
    dense: Model[Array, Array] = chain(Relu(hidden_width, units), Linear(None, hidden_width))
    model: Model[list[Doc], list[Floats2d]] = Model(
        "study_tagger",
        _forward,
        init=_init,
        layers=[encoder, recurrent, dense],
        dims={"nO": nO},
    )
    return model


def _init(model: Model, X: Any = None, Y: Any = None) -> None:
    encoder, recurrent, dense = model.layers
    if Y is not None and model.has_dim("nO") is None:
        model.set_dim("nO", Y[0].shape[1])
    encoder.initialize(X=X)
    recurrent.initialize()
    dense.layers[-1].set_dim("nO", model.get_dim("nO") + len(PIECE_LABELS))
    dense.initialize()


def _forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Floats2d], Callable]:
    if is_train:
        raise ValueError("gmb_ner.StudyTagger.v1 learns by pieces, in `study_ner` alone.")
    features, _, first = read_pieces(model, docs)
    scores, _ = score_pieces(model, features, is_train)
    words = scores.reshape(-1, scores.shape[-1])[first, : model.get_dim("nO")]
    lengths: Any = np.array([len(doc) for doc in docs], dtype=np.int32)
    return model.ops.unflatten(words, lengths), lambda d_scores: docs


def read_pieces(model: Model, docs: list[Doc]) -> tuple[Array, Array, Array]:
    """What the frozen encoder makes of Docs.

    Returns features (windows, pieces, width), 0 for padding; kinds (windows, pieces), the index in
    `PIECE_LABELS` of each piece or -1 for a word's first, -2 for padding; and (words of all Docs,),
    which of all pieces is the first of each word.
    """
    encoder: Any = model.layers[0]
    size = encoder.settings["window"]
    output = encoder.predict(docs)
    hidden: Array = output.model_output.last_hidden_state.cpu().numpy()
    windows, pieces, width = hidden.shape
    lengths: Array = np.array(output.wordpieces.lengths)
    features: Array = np.zeros((windows, size, width), dtype=np.float32)
    inside = np.arange(size) < lengths[:, None]
    features[:, :pieces] = hidden * inside[:, :pieces, None]
    kinds = np.where(inside, CONTINUED, -2)
    kinds[:, 0] = START
    kinds[np.arange(windows), lengths - 1] = END
    begins = np.cumsum(output.align.lengths) - output.align.lengths
    first = output.align.dataXd[begins].ravel()
    row, column = np.divmod(first, pieces)
    kinds[row, column] = -1
    return model.ops.asarray(features), kinds, row * size + column


def score_pieces(model: Model, features: Array, is_train: bool) -> tuple[Array, Callable]:
    """(windows, pieces, tags and `PIECE_LABELS`) scores of features, and their backpropagation."""
    _, recurrent, dense = model.layers
    windows, pieces, _ = features.shape
    outputs, backprop_recurrent = recurrent(features, is_train)
    flat, backprop_dense = dense(outputs.reshape(windows * pieces, -1), is_train)

    def backprop(d_scores: Array) -> None:
        d_outputs = backprop_dense(d_scores.reshape(windows * pieces, -1))
        backprop_recurrent(d_outputs.reshape(windows, pieces, -1))

    return flat.reshape(windows, pieces, -1), backprop


@Language.factory(
    "study_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type", "doc.spans"],
    default_config={
        "padding_in_loss": True,
        "scorer": {"@scorers": "spacy.ner_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def create_study_ner(
    nlp: Language, name: str, model: Model, padding_in_loss: bool, scorer: Callable | None
) -> "StudyNER":
    """Create the component.

    model (Model[List[Doc], List[Floats2d]]): `gmb_ner.StudyTagger.v1`.
    padding_in_loss (bool): the study's mistake: padding counts as pieces with the tag O.
    scorer (Optional[Callable]): of the entities.
    """
    return StudyNER(nlp.vocab, model, name, padding_in_loss=padding_in_loss, scorer=scorer)


class StudyNER(LinearNER):
    """See `create_study_ner`. Entities are chosen and given confidences as by `linear_ner`."""

    def __init__(self, *args: Any, padding_in_loss: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.padding_in_loss = padding_in_loss

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch; returns the losses, in nats a piece.

        drop: has no effect, as the study had no dropout.
        """
        examples, losses = list(examples), {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        validate_examples(examples, "StudyNER.update")
        docs = [example.predicted for example in examples]
        if not any(len(doc) for doc in docs):
            return losses
        features, kinds, first = read_pieces(self.model, docs)
        scores, backprop = score_pieces(self.model, features, is_train=True)
        targets: Array = self._targets(examples, kinds, first)
        weights: Array = np.ones(scores.shape[-1], dtype=np.float32)
        loss, d_scores = cross_entropy(
            scores.reshape(-1, scores.shape[-1]),
            self.model.ops.asarray(targets),
            self.model.ops.asarray(weights),
            0.0,
        )
        backprop(d_scores.reshape(scores.shape))
        losses[self.name] += loss
        if sgd is not None:
            self.finish_update(sgd)
        return losses

    def _targets(self, examples: list[Example], kinds: Array, first: Array) -> Array:
        """(all pieces,) the index of each one's label, negative where it does not count."""
        padding = 0 if self.padding_in_loss else -1
        targets = np.where(kinds >= 0, kinds + len(self.tags), padding).ravel()
        targets[first] = np.concatenate(self._gold(examples))
        return targets

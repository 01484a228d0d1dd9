"""The leads that were tried: each a change of one thing in a config."""

from collections.abc import Callable
from dataclasses import dataclass, field

from spacy.tokens import Doc
from spacy.util import dot_to_object, set_dot_to_object
from thinc.api import Config

from gmb_ner.benchmark.cleaning import hide_doubtful

NER = "components.ner"
ENCODER = "components.transformer.model"
RARE = ("art", "eve", "nat")


@dataclass(frozen=True)
class Variant:
    """One lead.

    lead: for people.
    change: changes a config in place.
    single_sentences: train and choose on Docs of one sentence each.
    prepare: changes the Docs that train.
    """

    lead: str
    change: Callable[[Config], None] = field(default=lambda config: None)
    single_sentences: bool = False
    prepare: Callable[[list[Doc]], list[Doc]] = field(default=lambda docs: docs)


def setting(path: str, value: object) -> Callable[[Config], None]:
    """A change of one setting, named by its dotted path; the setting has to be there."""

    def change(config: Config) -> None:
        dot_to_object(config, path)
        set_dot_to_object(config, path, value)

    return change


def scaled(path: str, factor: float) -> Callable[[Config], None]:
    """A change of one number to a multiple of it."""

    def change(config: Config) -> None:
        value = dot_to_object(config, path)
        set_dot_to_object(config, path, type(value)(value * factor))

    return change


def one_expert(name: str) -> Callable[[Config], None]:
    """Only this of the experts."""

    def change(config: Config) -> None:
        ner = config["components"]["ner"]
        experts = ner["model"]["*"]
        ner["loss"] = ner["loss"][list(experts).index(name)]
        ner["model"] = experts[name]

    return change


def _whole_docs(config: Config) -> None:
    """Batches keep their number of annotated words, about three quarters of all (canonical)."""
    setting("corpora.train.annotated_only", False)(config)
    scaled("training.batcher.size", 1.3)(config)


def _earlier_lexical(config: Config) -> None:
    ner = config["components"]["ner"]
    ner["loss"] = "cross_entropy"
    ner["model"]["*"]["lexical"] |= {"dropout": 0.6, "learn_rate": 0.05}


def first_layers(number: int) -> Callable[[Config], None]:
    """Only the encoder's first layers: Hugging Face leaves the weights of the others unread."""

    def change(config: Config) -> None:
        settings = config["components"]["transformer"]["model"]["transformer_config"]
        settings["num_hidden_layers"] = number

    return change


def _convolution(config: Config) -> None:
    """A third expert: spaCy's own tok2vec."""
    config["components"]["ner"]["loss"].append("crf")
    config["components"]["ner"]["model"]["*"]["convolution"] = {
        "@architectures": "gmb_ner.LinearTagger.v1",
        "tok2vec": {
            "@architectures": "spacy.HashEmbedCNN.v2",
            "pretrained_vectors": None,
            "width": 96,
            "depth": 4,
            "embed_size": 5000,
            "window_size": 1,
            "maxout_pieces": 3,
            "subword_features": True,
        },
    }


VARIANTS: dict[str, Variant] = {
    "base": Variant("configs/minilm.cfg as it is"),
    "no-lexical": Variant("without the lexical expert", one_expert("contextual")),
    "no-case": Variant("without case embeddings", setting(f"{ENCODER}.case_embeddings", False)),
    "learned-embeddings": Variant(
        "word embeddings learned as well", setting(f"{ENCODER}.freeze_embeddings", False)
    ),
    "dropout": Variant(
        "dropout of 0.1 in the encoder",
        setting(f"{ENCODER}.transformer_config.hidden_dropout_prob", 0.1),
    ),
    "four-layers": Variant("the encoder's first four layers of six", first_layers(4)),
    "three-layers": Variant("the encoder's first three layers of six", first_layers(3)),
    "two-layers": Variant("the encoder's first two layers of six", first_layers(2)),
    "sentences": Variant("trained on single sentences", single_sentences=True),
    "smaller-batches": Variant("batches half as large", scaled("training.batcher.size", 0.5)),
    "larger-batches": Variant("batches twice as large", scaled("training.batcher.size", 2)),
    "slower": Variant("half the learning rate", scaled(f"{ENCODER}.learn_rate_factor", 0.5)),
    "faster": Variant("twice the learning rate", scaled(f"{ENCODER}.learn_rate_factor", 2)),
    "longer": Variant("twice the epochs", scaled("training.max_epochs", 2)),
    "smoothing": Variant("label smoothing 0.1", setting(f"{NER}.label_smoothing", 0.1)),
    "crf": Variant("CRF loss of both experts", setting(f"{NER}.loss", "crf")),
    "cross-entropy": Variant(
        "cross-entropy of both experts", setting(f"{NER}.loss", "cross_entropy")
    ),
    "earlier-lexical": Variant(
        "lexical expert by cross-entropy, dropout 0.6, learning rate 0.05", _earlier_lexical
    ),
    "averages": Variant("averaged weights", setting("training.optimizer.use_averages", True)),
    "rare-weights": Variant(
        "rare labels weigh five times",
        setting(f"{NER}.class_weights", dict.fromkeys(RARE, 5.0)),
    ),
    "no-rare-sampling": Variant(
        "Docs with rare labels come once", setting("corpora.train.repeat", {})
    ),
    "no-bias": Variant("rare labels chosen like others", setting(f"{NER}.label_bias", {})),
    "whole-docs": Variant("with the sentences of other parts as context", _whole_docs),
    "mean-pooling": Variant(
        "mean of a word's pieces instead of the first",
        setting(f"{NER}.model.*.contextual.tok2vec.pooling", {"@layers": "reduce_mean.v1"}),
    ),
    "hidden": Variant(
        "a hidden layer of 256", setting(f"{NER}.model.*.contextual.hidden_width", 256)
    ),
    "cleaning": Variant(
        "annotation hidden that the lexical expert surely contradicts", prepare=hide_doubtful
    ),
    "fused-attention": Variant(
        "torch's fused attention",
        setting(f"{ENCODER}.transformer_config.attn_implementation", "sdpa"),
    ),
    "convolution": Variant("a third expert: spaCy's CNN", _convolution),
}

"""Export a trained pipeline to one that needs no torch: encoder and tags become an ONNX graph."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import spacy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.api import Model
from thinc.util import to_numpy

from gmb_ner.errors import InputError
from gmb_ner.files import take_place, work_folder
from gmb_ner.pipeline.lexical_tagger import SparseLinear
from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.loading import load_model, pipe_before, reads_sentences
from gmb_ner.pipeline.onnx_ner import OnnxNER
from gmb_ner.pipeline.wordpieces import PieceBatch

if TYPE_CHECKING:
    from gmb_ner.deploy.bert_graph import Bert
    from gmb_ner.pipeline.torch_encoder import Encoder

ARCHITECTURE = "gmb_ner.TransformerModel.v1"
PRECISIONS = ("int8", "fp32")
CALIBRATION_DOCS = 200
TOLERANCE = 1e-3  # between the float32 graph's tag scores and torch's
# What the graph is held against torch with, and what the ranges of 8-bit integers are taken from if
# there are no other texts: short and long, one sentence and several.
PROBES = (
    "President Ada Lin met Kenyan officials in Nairobi on Monday .",
    "Rain .",
    "In 2004 , 1,200 people fled Oslo . The U.N. said McDonald's had closed 12 shops there . " * 6,
)


def export(
    trained: Path, output: Path, *, precision: str = "int8", texts: Sequence[Doc] = ()
) -> Path:
    """Write a pipeline with one component, `onnx_ner`, that finds what `trained` finds.

    trained: the folder of a pipeline of `transformer` (`gmb_ner.TransformerModel.v1`) and `ner`
        (`linear_ner`). output: the folder to write; an earlier export there is replaced at the end.
    precision: "fp32", or "int8": matrix products of 8-bit integers, word embeddings and lexical
        weights in 8 bits; a third of the size.
    texts: of the kind that will be read, best those of the training. At most `CALIBRATION_DOCS`
        of them tell the ranges of BERT's 8-bit integers; built-in ones do where there are none.
        Other encoders take the range of what they read.

    Raises InputError for other pipelines, where the float32 graph gives other scores than torch,
    and for an output that holds something else than an export.
    """
    if precision not in PRECISIONS:
        raise InputError(f"There is no precision {precision}: choose from {', '.join(PRECISIONS)}.")
    if not (trained / "config.cfg").is_file():
        raise InputError(
            f"{trained} is not a trained pipeline; make it with `spacy project run train`."
        )
    if not _replaceable(output):
        raise InputError(
            f"{output} is there and is no exported pipeline: name a new folder for the export."
        )
    for library in ("onnx", "onnxruntime"):
        if find_spec(library) is None:
            raise InputError(
                f"export needs {library}, which is missing: pip install -e '.[onnx,export]'."
            )
    from gmb_ner.deploy import bert_graph  # it needs these libraries

    nlp = load_model(trained)
    contextual, lexical = _experts(nlp, trained)
    encoder = cast(Any, nlp.get_pipe("transformer")).model.transformer
    bert = _bert(encoder, contextual)
    with work_folder(output) as work:
        if bert is not None:
            graph = bert_graph.write(bert)
        else:
            from gmb_ner.deploy import traced_graph  # its libraries take a second to load

            graph = traced_graph.write(encoder, _layers(contextual), work)
        exported = _pipeline(nlp, contextual, lexical, graph)
        _hold_against(nlp, exported)
        if precision == "int8":
            if bert is not None:
                ranges = bert_graph.measure(bert, _calibration(exported, texts))
                graph = bert_graph.write(bert, ranges)
            else:
                graph = traced_graph.quantize(graph, work)
            small = None if lexical is None else lexical.quantized()
            exported = _pipeline(nlp, contextual, small, graph)
        exported.meta["description"] = nlp.meta.get("description", "")
        exported.to_disk(work / "pipeline")
        take_place(work / "pipeline", output)
    return output


def _replaceable(output: Path) -> bool:
    """Whether nothing of the user's is lost if an export takes a folder's place."""
    if not output.exists():
        return True
    if not output.is_dir() or output.is_symlink():
        return False
    if not any(output.iterdir()):
        return True
    config = output / "config.cfg"
    return config.is_file() and 'factory = "onnx_ner"' in config.read_text(encoding="utf-8")


def _experts(nlp: Language, trained: Path) -> tuple[Model, SparseLinear | None]:
    """The tagger on the encoder and the lexical expert, if there is one.

    Raises InputError for pipelines that hold anything else.
    """
    factories = {name: nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
    working = {
        name: factory for name, factory in factories.items() if factory != "trf_data_cleaner"
    }
    if working != {"transformer": "transformer", "ner": "linear_ner"}:
        raise InputError(
            f"{trained} holds {', '.join(factories)} ({', '.join(factories.values())}): only "
            "pipelines of transformer and ner (transformer, linear_ner) can be exported."
        )
    architecture = nlp.config["components"]["transformer"]["model"]["@architectures"]
    if architecture != ARCHITECTURE:
        raise InputError(
            f"The transformer of {trained} is a {architecture}: only {ARCHITECTURE} can be "
            "exported."
        )
    recognizer = cast(LinearNER, nlp.get_pipe("ner"))
    model = recognizer.model
    experts = model.layers if model.name == "expert_taggers" else [model]
    taggers = [expert for expert in experts if expert.has_ref("output")]
    tables = [shim for expert in experts for shim in expert.shims if isinstance(shim, SparseLinear)]
    if any(expert.has_ref("transitions") for expert in experts):
        raise InputError(f"{trained} has learned transitions, which cannot be exported.")
    listens = all(any("listener" in node.name for node in tagger.walk()) for tagger in taggers)
    if len(taggers) != 1 or len(tables) != len(experts) - 1 or len(tables) > 1 or not listens:
        raise InputError(
            f"The experts of {trained} cannot be exported: there has to be one LinearTagger that "
            "listens to the transformer, and at most one LexicalTagger."
        )
    (tagger,) = taggers
    if _pooling(tagger) == "mean" and len(_layers(tagger)) > 1:
        raise InputError(
            f"{trained} has mean pooling and a hidden layer, and only one of them can be exported."
        )
    return tagger, (tables[0] if tables else None)


def _pooling(tagger: Model) -> str:
    names = {node.name for node in tagger.walk()}
    return "mean" if "reduce_mean" in names else "first"


def _layers(tagger: Model) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Weights and biases of a tagger's output: perhaps of a hidden layer, and of the last."""
    nodes = [node for node in tagger.get_ref("output").walk() if node.has_param("W")]
    return [
        (np.array(node.get_param("W"), dtype="f4"), np.array(node.get_param("b"), dtype="f4"))
        for node in nodes
    ]


def _bert(encoder: "Encoder", tagger: Model) -> "Bert | None":
    """What the graph of a BERT is made of; None for encoders that have to be traced."""
    from gmb_ner.deploy.bert_graph import ACTIVATIONS, Bert
    from gmb_ner.pipeline.packed_bert import can_pack

    config = encoder.config
    if not can_pack(encoder.transformer) or config.hidden_act not in ACTIVATIONS:
        return None
    if config.pruned_heads or not config.num_hidden_layers:
        return None
    return Bert(
        weights={name: values.numpy() for name, values in encoder.state_dict().items()},
        output=_layers(tagger),
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        activation=config.hidden_act,
        epsilon=config.layer_norm_eps,
    )


def _calibration(exported: Language, texts: Sequence[Doc]) -> Iterator[PieceBatch]:
    """Windows of texts, spread evenly over all that hold words, or of the built-in ones."""
    component: Any = exported.get_pipe("ner")
    docs = [doc for doc in texts if len(doc)] or [exported.make_doc(text) for text in PROBES]
    count = min(len(docs), CALIBRATION_DOCS)
    chosen = (docs[i * len(docs) // count] for i in range(count))
    return map(component.word_pieces, minibatch(chosen, size=16))


def _pipeline(nlp: Language, tagger: Model, lexical: SparseLinear | None, graph: bytes) -> Language:
    """The pipeline with one component."""
    from gmb_ner.pipeline.torch_transformer import word_prefix

    listened: Any = nlp.get_pipe("transformer")
    recognizer: Any = nlp.get_pipe("ner")
    transformer, tokenizer = listened.model, listened.model.tokenizer
    config = {"nlp": {"tokenizer": nlp.config["nlp"]["tokenizer"]}}
    exported: Language = spacy.blank(nlp.meta["lang"], config=config)
    old, new = cast(Tokenizer, nlp.tokenizer), cast(Tokenizer, exported.tokenizer)
    new.from_bytes(old.to_bytes(exclude=["vocab"]), exclude=["vocab"])
    if reads_sentences(nlp):
        # So that it is scored as the trained one is.
        exported.config["corpora"]["train"] = {"sentences": True}
    settings = {
        "label_bias": recognizer.label_bias,
        "threshold": recognizer.threshold,
        "scorer": nlp.config["components"]["ner"]["scorer"],
    }
    component: Any = exported.add_pipe("onnx_ner", name="ner", config=settings)
    assert isinstance(component, OnnxNER)
    component.set_graph(
        {
            "labels": list(recognizer.labels),
            "temperature": recognizer.temperature,
            "window": transformer.settings["inference_window"],
            "context": transformer.settings["inference_context"],
            "start_id": tokenizer.cls_token_id,
            "end_id": tokenizer.sep_token_id,
            "pad_id": tokenizer.pad_token_id,
            "prefix": word_prefix(tokenizer),
            "pooling": _pooling(tagger),
        },
        graph,
        tokenizer.backend_tokenizer.to_str(),
        lexical,
    )
    return exported


def _hold_against(nlp: Language, exported: Language) -> None:
    """Raise InputError where the graph's scores of some texts are not torch's."""
    component: Any = exported.get_pipe("ner")
    recognizer: Any = nlp.get_pipe("ner")
    docs = list(pipe_before(nlp, "ner", PROBES))
    worst = float(np.abs(to_numpy(recognizer.tag_scores(docs)) - component.tag_scores(docs)).max())
    if not worst <= TOLERANCE:
        raise InputError(
            f"The exported graph's tag scores differ from torch's by up to {worst:.2g}: this "
            "encoder cannot be exported."
        )

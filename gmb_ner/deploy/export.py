"""Export a trained pipeline to one that needs no torch: encoder and tags become an ONNX graph."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokenizer import Tokenizer
from thinc.api import Model
from thinc.util import to_numpy

from gmb_ner.errors import InputError
from gmb_ner.files import take_place, work_folder
from gmb_ner.pipeline.lexical_tagger import SparseLinear
from gmb_ner.pipeline.linear_ner import LinearNER
from gmb_ner.pipeline.loading import load_model, pipe_before, reads_sentences
from gmb_ner.pipeline.onnx_ner import INPUTS, OnnxNER

ARCHITECTURE = "gmb_ner.TransformerModel.v1"
PRECISIONS = ("int8", "fp32")
OPSET = 17
TOLERANCE = 1e-3  # between the float32 graph's tag scores and torch's
# What the graph is held against torch with: short and long, one sentence and several.
PROBES = (
    "President Ada Lin met Kenyan officials in Nairobi on Monday .",
    "Rain .",
    "In 2004 , 1,200 people fled Oslo . The U.N. said McDonald's had closed 12 shops there . " * 6,
)


def export(trained: Path, output: Path, *, precision: str = "int8") -> Path:
    """Write a pipeline with one component, `onnx_ner`, that finds what `trained` finds.

    trained: the folder of a pipeline of `transformer` (`gmb_ner.TransformerModel.v1`) and `ner`
        (`linear_ner`). output: the folder to write; an earlier export there is replaced at the end.
    precision: "fp32", or "int8": matrix products of 8-bit integers (weights by channel, inputs by
        their range at run time), word embeddings and lexical weights in 8 bits; a third of the
        size.

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
    nlp = load_model(trained)
    contextual, lexical = _experts(nlp, trained)
    with work_folder(output) as work:
        graph = work / "fp32.onnx"
        _write_graph(nlp, contextual, graph)
        exported = _pipeline(nlp, contextual, lexical, graph.read_bytes())
        _hold_against(nlp, exported)
        if precision == "int8":
            _quantize(graph, work / "int8.onnx")
            small = None if lexical is None else lexical.quantized()
            exported = _pipeline(nlp, contextual, small, (work / "int8.onnx").read_bytes())
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


def _layers(tagger: Model) -> list[Model]:
    """The layers with weights of a tagger's output: perhaps a hidden one, and the last."""
    return [node for node in tagger.get_ref("output").walk() if node.has_param("W")]


def _write_graph(nlp: Language, tagger: Model, path: Path) -> None:
    """Trace encoder and tagger, and fuse what onnxruntime has one operator for."""
    import torch
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    from gmb_ner.pipeline.torch_encoder import Encoder

    component: Any = nlp.get_pipe("transformer")
    source = component.model.transformer
    config = type(source.config).from_dict(source.config.to_dict())
    # The attention and the layers that the fusions below know.
    config._attn_implementation = "eager"
    encoder = Encoder.from_config(config)
    encoder.load_state_dict(source.state_dict())
    encoder.packed = False
    layers: list[torch.nn.Module] = []
    for layer in _layers(tagger):
        weights = torch.from_numpy(np.array(layer.get_param("W"), dtype=np.float32))
        linear = torch.nn.Linear(weights.shape[1], weights.shape[0])
        linear.weight.data = weights
        linear.bias.data = torch.from_numpy(np.array(layer.get_param("b"), dtype=np.float32))
        layers += [linear, torch.nn.ReLU()]

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            self.output = torch.nn.Sequential(*layers[:-1])

        def forward(self, input_ids: Any, case_ids: Any, attention_mask: Any) -> Any:
            return self.output(self.encoder(input_ids, case_ids, attention_mask, bfloat16=False))

    shape = (2, 8)
    example = tuple(torch.ones(shape, dtype=torch.int64) for _ in INPUTS)
    axes = {name: {0: "windows", 1: "pieces"} for name in (*INPUTS, "scores")}
    with warnings.catch_warnings():
        # This exporter is on its way out; the fusions do not know what the new one writes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Graph().eval(),
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=["scores"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    if config.model_type in ("bert", "roberta"):
        options = FusionOptions("bert")
        # As in `onnx_ner.DISABLED_OPTIMIZERS`.
        options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
        fused = optimize_model(
            str(path),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            optimization_options=options,
            opt_level=1,
        )
        fused.save_model_to_file(str(path))


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


def _quantize(graph: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inferred = target.with_suffix(".inferred")
    quant_pre_process(graph, inferred, skip_optimization=True, skip_symbolic_shape=True)
    quantize_dynamic(
        inferred,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        # onnx cannot infer the types that onnxruntime's own operators give.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )

"""BERT's graph gives the scores that torch gives, and rounds with little loss."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest
import torch
from transformers import BertConfig, BertModel

from gmb_ner.deploy import bert_graph
from gmb_ner.deploy.bert_graph import HEADROOM, Bert, measure, write
from gmb_ner.pipeline.onnx_graph import OnnxGraph
from gmb_ner.pipeline.torch_encoder import Encoder
from gmb_ner.pipeline.wordpieces import PieceBatch

TAGS = 5
LENGTHS = np.array([7, 3, 12, 7])
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
}


def make(layers=2, cased=True, hidden=(), activation="gelu"):
    """An encoder with random weights, its tags' layers, and what the graph is made of."""
    torch.manual_seed(0)
    config = BertConfig(**SIZES, num_hidden_layers=layers, hidden_act=activation)
    # Larger than at the start of a training, so that attention and norms have something to do.
    config.initializer_range = 0.3
    encoder = Encoder(BertModel(config).eval())
    if cased:
        encoder.add_case_embeddings()
        torch.nn.init.normal_(encoder.case_embeddings.weight)
    widths = [SIZES["hidden_size"], *hidden, TAGS]
    linear = [torch.nn.Linear(a, b) for a, b in pairwise(widths)]
    bert = Bert(
        weights={name: values.numpy() for name, values in encoder.state_dict().items()},
        output=[(one.weight.detach().numpy(), one.bias.detach().numpy()) for one in linear],
        layers=layers,
        heads=config.num_attention_heads,
        activation=activation,
        epsilon=config.layer_norm_eps,
    )
    layered = [part for one in linear for part in (one, torch.nn.ReLU())]
    return encoder, torch.nn.Sequential(*layered[:-1]), bert


def batch(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    inside = np.arange(lengths.max()) < lengths[:, None]
    ids, cases = (np.where(inside, rng.integers(1, n, inside.shape), 0) for n in (50, 6))
    none = np.zeros(0, dtype=np.int64)
    return PieceBatch(ids, cases, lengths, [], none, none)


def each_alone(windows):
    """The same windows, each a batch of its own without padding."""
    for row, length in enumerate(windows.lengths):
        here = slice(row, row + 1), slice(0, length)
        yield replace(
            windows,
            input_ids=windows.input_ids[here],
            case_ids=windows.case_ids[here],
            lengths=windows.lengths[row : row + 1],
        )


def expected(encoder, output, windows, places):
    given = (windows.input_ids, windows.case_ids, windows.attention_mask.astype("i8"))
    with torch.no_grad():
        hidden = encoder(*map(torch.from_numpy, given), bfloat16=False)
        return output(hidden).reshape(-1, TAGS)[torch.from_numpy(places)].numpy()


def scores_of(graph, windows, places):
    return OnnxGraph(graph, TAGS).begin(windows, places, 1)()


@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"layers": 1}, {"cased": False}, {"hidden": (8,)}),
        *({"activation": "gelu_new"}, {"activation": "gelu_pytorch_tanh"}),
    ],
    ids=["plain", "one layer", "no case embeddings", "hidden layer", "gelu_new", "tanh"],
)
def test_float32_gives_what_torch_gives(settings):
    encoder, output, bert = make(**settings)
    windows = batch()
    for places in (np.flatnonzero(windows.attention_mask), np.array([40, 3, 3, 0, 14])):
        found = scores_of(write(bert), windows, places)
        wanted = expected(encoder, output, windows, places)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("measured", [False, True])
def test_it_is_valid_onnx(measured):
    _, _, bert = make()
    onnx.checker.check_model(
        onnx.load_from_string(write(bert, measure(bert, [batch()]) if measured else None))
    )


def test_ranges_are_those_of_all_pieces_of_all_batches():
    encoder, _, bert = make(layers=1)
    windows = [batch(), batch(np.array([4, 20]))]
    ranges = measure(bert, windows)
    parts = ("hidden", "context", "attended", "inner")
    assert [*ranges] == [f"layer.0.{part}" for part in parts]
    states = []
    with torch.no_grad():
        for one in windows:
            words = encoder.get_input_embeddings()(torch.from_numpy(one.input_ids))
            cases = encoder.case_embeddings(torch.from_numpy(one.case_ids))
            embedded = encoder.transformer.embeddings(inputs_embeds=words + cases)
            states.append(embedded[torch.from_numpy(one.attention_mask)])
    low, high = ranges["layer.0.hidden"]
    np.testing.assert_allclose(low, torch.cat(states).amin(0), atol=1e-5)
    np.testing.assert_allclose(high, torch.cat(states).amax(0), atol=1e-5)


def error(bert, encoder, output, texts, windows):
    """The largest difference between int8's scores and torch's, and how far these reach."""
    places = np.flatnonzero(windows.attention_mask)
    found = scores_of(write(bert, measure(bert, [texts])), windows, places)
    wanted = expected(encoder, output, windows, places)
    return np.abs(found - wanted).max() / np.ptp(wanted)


def test_int8_is_smaller_and_close():
    encoder, output, bert = make()
    assert len(write(bert, measure(bert, [batch()]))) < len(write(bert)) / 2
    assert 0 < error(bert, encoder, output, batch(), batch()) < 0.05


@pytest.mark.parametrize("norm", ["attended", "hidden"])
def test_a_channel_of_large_range_costs_the_others_little(norm, monkeypatch):
    encoder, output, bert = make()
    # As in pretrained encoders, whose next layer has small weights for it.
    with torch.no_grad():
        if norm == "hidden":
            encoder.transformer.embeddings.LayerNorm.weight[3] *= 200
        for layer in encoder.transformer.encoder.layer:
            if norm == "attended":
                layer.attention.output.LayerNorm.weight[3] *= 200
                layer.intermediate.dense.weight[:, 3] /= 200
            else:
                own = layer.attention.self
                for linear in (own.query, own.key, own.value):
                    linear.weight[:, 3] /= 200
    evened = error(bert, encoder, output, batch(), batch())
    monkeypatch.setattr(bert_graph, "SMALLEST_SHARE", 1.0)  # of a factor: all of them are 1
    assert evened < error(bert, encoder, output, batch(), batch()) / 2


def test_neighbours_and_padding_add_nothing_to_ranges():
    _, _, bert = make()
    windows = batch()
    together, by_itself = measure(bert, [windows]), measure(bert, each_alone(windows))
    assert [*together] == [*by_itself]
    for name, ends in together.items():
        np.testing.assert_allclose(ends, by_itself[name], atol=1e-5, err_msg=name)


def test_other_texts_may_go_beyond_the_measured_range():
    _, _, bert = make()
    ranges = measure(bert, [batch()])
    constants = {
        constant.name: onnx.numpy_helper.to_array(constant)
        for constant in onnx.load_from_string(write(bert, ranges)).graph.initializer
    }
    low, high = ranges["layer.0.context"]
    step = float(constants["layer.0.context.scale"])
    zero = int(constants["layer.0.context.zero"])
    assert (255 - zero) * step == pytest.approx(HEADROOM * high.max(), abs=step)
    assert -zero * step == pytest.approx(HEADROOM * low.min(), abs=step)


def test_no_sum_of_two_products_is_more_than_16_bits_hold():
    _, _, bert = make()
    graph = onnx.load_from_string(write(bert, measure(bert, [batch()]))).graph
    multiplied = {node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"}
    weights = [
        onnx.numpy_helper.to_array(constant).astype(int)
        for constant in graph.initializer
        if constant.name in multiplied
    ]
    assert len(weights) == 2 * 4
    assert all(2 * 255 * np.abs(matrix).max() < 2**15 for matrix in weights)


def test_weights_of_0_are_no_reason_to_fail():
    _, _, bert = make(layers=1)
    value = "transformer.encoder.layer.0.attention.self.value"
    zeros = {f"{value}.{kind}": 0 * bert.weights[f"{value}.{kind}"] for kind in ("weight", "bias")}
    bert = replace(bert, weights={**bert.weights, **zeros})
    windows = batch()
    places = np.flatnonzero(windows.attention_mask)
    found = scores_of(write(bert, measure(bert, [windows])), windows, places)
    assert np.isfinite(found).all()


def test_padding_and_neighbours_change_nothing():
    _, _, bert = make()
    windows = batch()
    for graph in (write(bert), write(bert, measure(bert, [windows]))):
        together = scores_of(graph, windows, np.flatnonzero(windows.attention_mask))
        alone = [scores_of(graph, one, np.arange(one.lengths[0])) for one in each_alone(windows)]
        np.testing.assert_array_equal(np.concatenate(alone), together)

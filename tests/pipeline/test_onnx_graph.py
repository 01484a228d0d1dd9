"""Windows are read in groups, and each place gets its own window's scores."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from gmb_ner.pipeline import onnx_graph
from gmb_ner.pipeline.onnx_graph import OnnxGraph
from gmb_ner.pipeline.wordpieces import PieceBatch

LENGTHS = np.array([2, 5, 3, 5])
# Of the second window, the fourth, the first and the third.
PLACES = np.array([9, 5, 15, 19, 1, 0, 12, 10])


def batch(lengths):
    """Windows whose pieces are numbered, with 0 on padding."""
    inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
    ids = np.where(inside, 10 + np.arange(inside.size).reshape(inside.shape), 0)
    none = np.zeros(0, dtype=np.int64)
    return PieceBatch(ids, np.zeros_like(ids), lengths, [], none, none)


def serialized(nodes, inputs, output, constants=()):
    values = [helper.make_tensor_value_info(name, TensorProto.INT64, s) for name, s in inputs]
    result = helper.make_tensor_value_info("scores", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "ids", values, [result], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def packed():
    """A graph without padding whose scores are the ids and the lengths of the longest windows."""
    flat = helper.make_tensor("flat", TensorProto.INT64, [2], [-1, 1])
    return serialized(
        [
            helper.make_node("Reshape", ["input_ids", "flat"], ["rows"]),
            helper.make_node("Gather", ["rows", "places"], ["chosen"]),
            helper.make_node("ReduceMax", ["lengths"], ["longest"], keepdims=1),
            helper.make_node("Mul", ["chosen", "longest"], ["zeros"]),
            helper.make_node("Sub", ["zeros", "zeros"], ["nothing"]),
            helper.make_node("Add", ["nothing", "longest"], ["widths"]),
            helper.make_node("Concat", ["chosen", "widths"], ["both"], axis=1),
            helper.make_node("Cast", ["both"], ["scores"], to=TensorProto.FLOAT),
        ],
        [("input_ids", ["w", "p"]), ("lengths", ["w"]), ("places", ["n"])],
        ["n", 2],
        [flat],
    )


def padded():
    """A graph whose scores are the ids and how many pieces it is given."""
    last = helper.make_tensor("last", TensorProto.INT64, [1], [-1])
    return serialized(
        [
            helper.make_node("Unsqueeze", ["input_ids", "last"], ["ids"]),
            helper.make_node("Size", ["attention_mask"], ["size"]),
            helper.make_node("Sub", ["ids", "ids"], ["nothing"]),
            helper.make_node("Add", ["nothing", "size"], ["sizes"]),
            helper.make_node("Concat", ["ids", "sizes"], ["both"], axis=2),
            helper.make_node("Cast", ["both"], ["scores"], to=TensorProto.FLOAT),
        ],
        [("input_ids", ["w", "p"]), ("attention_mask", ["w", "p"])],
        ["w", "p", 2],
        [last],
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("kind", [packed, padded])
def test_each_place_gets_the_scores_of_its_piece(kind, threads):
    windows = batch(LENGTHS)
    scores = OnnxGraph(kind(), 2).begin(windows, PLACES, threads)()
    assert scores.dtype == np.float32
    assert scores[:, 0].tolist() == windows.input_ids.ravel()[PLACES].tolist()


def longest_beside(kind, threads, lengths=LENGTHS):
    """What stands beside the scores of each window's first piece."""
    windows = batch(lengths)
    firsts = np.arange(len(lengths)) * windows.input_ids.shape[1]
    return OnnxGraph(kind(), 2).begin(windows, firsts, threads)()[:, 1].tolist()


def test_windows_of_similar_length_are_read_together():
    assert longest_beside(packed, 1) == [5, 5, 5, 5]
    # Shared out among threads: the longest two, and the others.
    assert longest_beside(packed, 2) == [3, 5, 3, 5]
    assert longest_beside(packed, 4) == [2, 5, 3, 5]
    # A long one takes a thread for itself.
    lengths = np.array([2, 20, 2, 2, 2, 2, 2, 2])
    assert longest_beside(packed, 2, lengths) == [2, 20, 2, 2, 2, 2, 2, 2]


def test_together_they_have_so_many_pieces_at_most(monkeypatch):
    monkeypatch.setattr(onnx_graph, "MAX_PIECES", 10)
    assert longest_beside(packed, 1) == [3, 5, 3, 5]
    monkeypatch.setattr(onnx_graph, "MAX_PIECES", 1)
    assert longest_beside(packed, 1) == [2, 5, 3, 5]


def test_graphs_that_know_padding_read_each_window_by_itself():
    assert longest_beside(padded, 1) == [2, 5, 3, 5]


def test_nothing_to_read():
    none = np.zeros(0, dtype=np.int64)
    empty = PieceBatch(np.zeros((0, 0), "i8"), np.zeros((0, 0), "i8"), none, [], none, none)
    assert OnnxGraph(packed(), 2).begin(empty, none, 2)().shape == (0, 2)


@pytest.mark.parametrize("threads", [1, 4])
def test_windows_without_a_place(threads):
    windows = batch(LENGTHS)
    scores = OnnxGraph(packed(), 2).begin(windows, PLACES[:1], threads)()
    assert scores[:, 0].tolist() == [windows.input_ids.ravel()[PLACES[0]]]


def test_one_run_cuts_the_windows_behind_the_longest():
    (scores,) = OnnxGraph(packed(), 2).run(batch(LENGTHS), np.array([2, 0]), np.array([3, 2, 1]))
    # Of windows of 3 pieces: the second's first, and the first's third and second.
    assert scores.tolist() == [[10, 3], [22, 3], [21, 3]]


def test_a_damaged_graph():
    with pytest.raises(Exception, match=r"(?i)protobuf|parsing"):
        OnnxGraph(b"graph", 2)

"""BERT without padding, against Hugging Face's own forward."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from gmb_ner.pipeline.packed_bert import can_pack, run_packed
from gmb_ner.pipeline.torch_encoder import Encoder, without_cudnn_attention

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert(attention="eager", **settings):
    torch.manual_seed(0)
    config = BertConfig(**SIZES, **{**NO_DROPOUT, **settings}, attn_implementation=attention)
    return BertModel(config)


def windows(*lengths):
    """Random pieces and their mask."""
    torch.manual_seed(1)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(1, 50, mask.shape), mask.long()


def packed(model, ids, mask):
    return run_packed(model, model.embeddings(input_ids=ids), mask)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("lengths", [(7,), (5, 5), (7, 3, 1), (7, 7, 3, 3, 3, 7)])
@pytest.mark.parametrize("gradients", [True, False])  # with padding for attention, and without
def test_the_hidden_states_are_those_of_hugging_face(attention, lengths, gradients):
    model, (ids, mask) = bert(attention).eval(), windows(*lengths)
    expected = model(input_ids=ids, attention_mask=mask).last_hidden_state
    with torch.set_grad_enabled(gradients):
        found = packed(model, ids, mask)
    assert found.shape == expected.shape
    assert_close(found[mask.bool()], expected[mask.bool()], rtol=0, atol=1e-5)
    assert not found[~mask.bool()].any()


def test_cudnns_attention_which_plans_for_each_shape_is_not_used_on_a_gpu(monkeypatch):
    model, (ids, mask) = bert("sdpa"), windows(7, 3)
    attend, allowed = functional.scaled_dot_product_attention, []

    def record(*args, **kwargs):
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attend(*args, **kwargs)

    def read():
        Encoder(model)(ids, torch.zeros_like(ids), mask, bfloat16=False)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", record)
    read()  # what torch may choose on a CPU is left alone
    monkeypatch.setattr(
        "gmb_ner.pipeline.torch_encoder.without_cudnn_attention",
        lambda device: without_cudnn_attention(torch.device("cuda")),
    )
    read()
    layers = SIZES["num_hidden_layers"]
    assert allowed == [True] * layers + [False] * layers
    assert torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_so_are_the_gradients(attention):
    model, (ids, mask) = bert(attention).train(), windows(7, 3, 1)
    direction = torch.randn(*mask.shape, 16) * mask[..., None]

    def gradients(hidden):
        model.zero_grad()
        hidden.backward(direction)
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    expected = gradients(model(input_ids=ids, attention_mask=mask).last_hidden_state)
    found = gradients(packed(model, ids, mask))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert_close(found[name], gradient, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize("gradients", [True, False])
def test_in_bfloat16_it_is_as_near(gradients):
    model, (ids, mask) = bert().eval(), windows(7, 3, 1)
    exact = packed(model, ids, mask)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(gradients):
        theirs = model(input_ids=ids, attention_mask=mask).last_hidden_state
        found = packed(model, ids, mask)
    error = (found - exact)[mask.bool()].abs().mean()
    assert 0 < error <= 1.5 * (theirs - exact)[mask.bool()].abs().mean()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_dropout_drops(attention):
    model, (ids, mask) = bert(attention, attention_probs_dropout_prob=0.5), windows(7, 3)
    model.train()
    first, second = packed(model, ids, mask), packed(model, ids, mask)
    assert not torch.equal(first, second)
    model.eval()
    assert_close(packed(model, ids, mask), packed(model, ids, mask))


def test_other_models_keep_their_own_forward():
    assert can_pack(bert())
    assert not can_pack(bert(position_embedding_type="relative_key"))
    assert not can_pack(bert(is_decoder=True))
    assert not can_pack(RobertaModel(RobertaConfig(**SIZES)))


def test_encoders_use_it_where_they_can():
    model, (ids, mask) = bert().eval(), windows(7, 3)
    encoder = Encoder(model)
    cases = torch.zeros_like(ids)
    with torch.no_grad():
        found = encoder(ids, cases, mask, bfloat16=False)
        encoder.packed = False
        plain = encoder(ids, cases, mask, bfloat16=False)
    assert_close(found[mask.bool()], plain[mask.bool()], rtol=0, atol=1e-5)
    # Only the own forward calculates something for padding.
    assert np.array_equal(found.any(dim=-1), mask.bool()) and plain.any(dim=-1).all()

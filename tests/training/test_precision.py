from pathlib import Path

import pytest
import torch
from spacy.util import load_config
from transformers import AutoModel

from gmb_ner.training.precision import cpu_bfloat16, cpu_has_bfloat16, training_precision

CONFIGS = Path(__file__).parents[2] / "configs"


def forward(model):
    return model(torch.arange(5, 15)[None])


def test_outputs_stay_float32_and_close(tiny_bert):
    model = AutoModel.from_pretrained(tiny_bert).eval()
    exact = forward(model).last_hidden_state
    with cpu_bfloat16():
        close = forward(model)
    assert close.last_hidden_state.dtype is close.pooler_output.dtype is torch.float32
    assert not torch.equal(close.last_hidden_state, exact)
    torch.testing.assert_close(close.last_hidden_state, exact, rtol=0, atol=0.1)


def test_an_update_of_the_weights_is_seen(tiny_bert):
    # Autocast keeps its copies of the weights for as long as it is entered, unless told not to.
    model = AutoModel.from_pretrained(tiny_bert).eval()
    with cpu_bfloat16():
        before = forward(model).last_hidden_state
        before.sum().backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        after = forward(model).last_hidden_state
    assert (after - before).abs().max() > 0.05


def test_gradients_reach_the_weights(tiny_bert):
    model = AutoModel.from_pretrained(tiny_bert).eval()
    with cpu_bfloat16():
        (forward(model).last_hidden_state ** 3).sum().backward()
    gradient = model.embeddings.word_embeddings.weight.grad
    assert gradient is not None and gradient.dtype is torch.float32 and gradient.abs().sum() > 0


def test_nothing_is_left_switched_on(tiny_bert):
    model = AutoModel.from_pretrained(tiny_bert).eval()
    exact = forward(model).last_hidden_state
    with cpu_bfloat16():
        pass
    assert torch.equal(forward(model).last_hidden_state, exact)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("supported", [True, False])
def test_what_an_encoder_is_trained_in(monkeypatch, supported):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert cpu_has_bfloat16() is supported
    best = "bfloat16" if supported else "float32"

    def trained_in(name, gpu_id=-1, **changed):
        components = load_config(CONFIGS / f"{name}.cfg")["components"]
        model = components.get("transformer", {}).get("model")
        return training_precision(model and model | changed, gpu_id)

    assert trained_in("cnn") == "float32"
    assert trained_in("minilm") == trained_in("minilm-stock") == best
    assert trained_in("minilm", precision="float32") == "float32"
    assert trained_in("minilm-stock", gpu_id=0, mixed_precision=True) == "mixed"
    assert trained_in("minilm-stock", gpu_id=0, mixed_precision=False) == "float32"

"""The transformer that reads words as words, against plain Hugging Face models."""

import os
import subprocess
import sys

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import registry
from spacy_transformers.layers import split_trf_batch
from thinc.api import SGD, Adam, RAdam, chain, reduce_first, reduce_mean
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
)

from gmb_ner.pipeline.listener import pool_words
from gmb_ner.pipeline.torch_encoder import Encoder, has_bfloat16
from gmb_ner.pipeline.torch_transformer import _pieces_at_once
from gmb_ner.pipeline.transformer import create_tok2vec_transformer, create_transformer_model
from gmb_ner.pipeline.wordpieces import CASES

TEXT = ["Ada Lin visited Oslo on Monday .", "The Nile rose on Monday in the north ."]
# Position embeddings of the tiny RoBERTa; two of them belong to its padding.
ROBERTA_POSITIONS = 66
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
POOLING = {"reduce_first": reduce_first, "reduce_mean": reduce_mean}
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory):
    """Byte-level pieces, positions behind the padding's, a tokenizer that knows no limit."""
    folder = tmp_path_factory.mktemp("encoder") / "tiny-roberta"
    folder.mkdir()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    tokenizer.model.save(str(folder))
    RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(
        folder
    )
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=ROBERTA_POSITIONS, **SIZES
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_deberta(tmp_path_factory):
    """Relative positions as in DeBERTa-v3, the convolution of v2, "▁" before words."""
    folder = tmp_path_factory.mktemp("encoder") / "tiny-deberta"
    folder.mkdir()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
    ).save_pretrained(folder)
    torch.manual_seed(2)
    config = DebertaV2Config(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=64,
        relative_attention=True,
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        conv_kernel_size=3,
        conv_act="gelu",
        **SIZES,
    )
    DebertaV2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["tiny_bert", "tiny_roberta", "tiny_deberta"])
def checkpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def vocab():
    return spacy.blank("en").vocab


def load(folder, **settings):
    """The model with a checkpoint's weights, in float32 and windows of 32 unless told."""
    settings = {"window": 32, "context": 4, "precision": "float32"} | settings
    model = create_transformer_model(str(folder), **settings)
    model.initialize()
    return model


def word_vectors(model, docs, pooling=reduce_mean):
    return chain(model, split_trf_batch(), pool_words(pooling(), 1.0)).predict(docs)


def plain_vectors(folder, words, pooling="reduce_mean", plain=None):
    """Each word's pooled pieces as tokenizer and model of Hugging Face alone give them.

    White space is not read, and has the vector of the first special piece.
    """
    solid = [i for i, word in enumerate(words) if not word.isspace()]
    # RoBERTa's tokenizer asks for it; the others have no such setting and take no notice.
    tokenizer = AutoTokenizer.from_pretrained(folder, add_prefix_space=True)
    encoded = tokenizer(
        [words[i] for i in solid], is_split_into_words=True, add_special_tokens=False
    )
    ids = [tokenizer.cls_token_id, *encoded["input_ids"], tokenizer.sep_token_id]
    plain = plain or AutoModel.from_pretrained(folder).eval()
    hidden = plain(input_ids=torch.tensor([ids])).last_hidden_state[0]
    rows = [hidden[0]] * len(words)
    for number, word in enumerate(solid):
        own = hidden[[i + 1 for i, of in enumerate(encoded.word_ids()) if of == number]]
        rows[word] = own[0] if pooling == "reduce_first" else own.mean(0)
    return torch.stack(rows)


def make_nlp(folder, tok2vec=None, **settings):
    """A pipeline of our transformer and spaCy's own `ner`, initialised with a few examples."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    transformer = {
        "@architectures": "gmb_ner.TransformerModel.v1",
        "name": str(folder),
        "window": 32,
        "context": 4,
        "precision": "float32",
        **settings,
    }
    pooling = {"@layers": "reduce_mean.v1"}
    if tok2vec is None:
        nlp.add_pipe("transformer", config={"model": transformer})
        tok2vec = {"@architectures": "gmb_ner.TransformerListener.v1"}
    else:
        tok2vec = transformer | {"@architectures": tok2vec}
    ner = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "state_type": "ner",
        "extra_state_tokens": False,
        "hidden_width": 16,
        "maxout_pieces": 2,
        "use_upper": False,
        "tok2vec": tok2vec | {"grad_factor": 1.0, "pooling": pooling},
    }
    nlp.add_pipe("ner", config={"model": ner})
    nlp.initialize(lambda: examples(nlp))
    return nlp


def examples(nlp):
    gold = [
        ("Ada Lin visited Oslo on Monday .", [(0, 7, "per"), (16, 20, "geo"), (24, 30, "tim")]),
        ("The Nile rose .", [(4, 8, "geo")]),
    ]
    return [
        Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in gold
    ]


def train(nlp, steps, **settings):
    """Losses of the recognizer, step by step."""
    optimizer = Adam(**{"learn_rate": 0.003, "grad_clip": 1.0} | settings)
    losses = []
    for _ in range(steps):
        losses.append(nlp.update(examples(nlp), sgd=optimizer)["ner"])
    return losses


def weights(model):
    """A copy of the parameters of a model's encoder, by name."""
    (shim,) = [shim for node in model.walk() for shim in node.shims]
    return {name: p.detach().clone() for name, p in shim._model.named_parameters()}


def equal(some, others):
    assert some.keys() == others.keys()
    return all(torch.equal(some[name], others[name]) for name in some)


def entities(nlp):
    docs = nlp.pipe(["Ada Lin visited Oslo on Monday .", "The Nile rose .", "", "On Monday"])
    return [[(ent.text, ent.label_) for ent in doc.ents] for doc in docs]


def one_step(model, docs, optimizer=None, seed=0):
    """Go the way of an update, with gradients drawn at random for each word."""
    rng = np.random.default_rng(seed)
    layer = chain(model, split_trf_batch(), pool_words(reduce_mean(), 1.0))
    vectors, backprop = layer.begin_update(docs)
    backprop([rng.normal(size=vector.shape).astype("f") for vector in vectors])
    if optimizer is not None:
        model.finish_update(optimizer)


def make_gradients_dense(model):
    for p in model.transformer.parameters():
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.to_dense()


def gradients(model):
    """Those of an update, as they are seen and changed in the tests: dense."""
    make_gradients_dense(model)
    named = model.transformer.named_parameters()
    return {name: p.grad for name, p in named if p.grad is not None}


# What it gives


@pytest.mark.parametrize("pooling", POOLING)
def test_vectors_are_those_of_the_plain_model(checkpoint, vocab, pooling):
    words = ["Ada", "visited", "Nairobi", "'s", "\n", "Nile", "(", "1999", ")", "."]
    model = load(checkpoint)
    (vectors,) = word_vectors(model, [Doc(vocab, words=words)], POOLING[pooling])
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(words), model.get_dim("nO"))
    with torch.no_grad():
        expected = plain_vectors(checkpoint, words, pooling)
    np.testing.assert_allclose(vectors, expected, **TOLERANCE)


@pytest.mark.parametrize("pooling", POOLING)
def test_listeners_get_a_vector_for_each_word(checkpoint, vocab, pooling):
    nlp = spacy.blank("en")
    config = {"@architectures": "gmb_ner.TransformerModel.v1", "name": str(checkpoint)}
    config |= {"window": 12, "context": 2, "precision": "float32"}
    transformer = nlp.add_pipe("transformer", config={"model": config})
    nlp.initialize()
    make_listener = registry.get("architectures", "gmb_ner.TransformerListener.v1")
    listener = make_listener(pooling=POOLING[pooling]())
    transformer.add_listener(listener.get_ref("listener"), "listening")
    docs = [nlp.make_doc(text) for text in [TEXT[0] * 3, "", "Nile", " \n "]]
    vectors = listener.predict(list(transformer.pipe(docs)))
    width = AutoModel.from_pretrained(checkpoint).config.hidden_size
    shapes = [vector.shape for vector in vectors]
    assert shapes == [(len(doc), width if len(doc) else 0) for doc in docs]
    expected = word_vectors(transformer.model, docs, POOLING[pooling])
    for some, others in zip(vectors, expected, strict=True):
        np.testing.assert_allclose(some, others, **TOLERANCE)


def test_windows_of_a_long_doc_are_read_with_their_context(checkpoint, vocab):
    words = (TEXT[0] + " " + TEXT[1]).split() * 3
    sentences = [i == 0 or words[i - 1] == "." for i in range(len(words))]
    doc = Doc(vocab, words=words, sent_starts=sentences)
    model = load(checkpoint, window=24, context=5, max_batch_pieces=48)
    (vectors,) = word_vectors(model, [doc])
    (windows,) = model.word_pieces()([doc]).windows
    assert len(windows) > 2
    for window in windows:
        with torch.no_grad():
            expected = plain_vectors(checkpoint, words[window.start : window.end])
        core = slice(window.core_start - window.start, window.core_end - window.start)
        own = vectors[window.core_start : window.core_end]
        np.testing.assert_allclose(own, expected[core], **TOLERANCE)


def test_docs_of_a_batch_do_not_matter_to_each_other(checkpoint, vocab):
    lengths = [1, 0, 40, 3, 17, 0, 9]
    words = " ".join(TEXT).split() * 3
    docs = [Doc(vocab, words=words[i : i + length]) for i, length in enumerate(lengths)]
    model = load(checkpoint, max_batch_pieces=64)
    together = word_vectors(model, docs)
    assert [len(vectors) for vectors in together] == lengths
    for doc, vectors in zip(docs, together, strict=True):
        if len(doc):
            np.testing.assert_allclose(vectors, word_vectors(model, [doc])[0], **TOLERANCE)


def test_docs_without_words(tiny_bert, vocab):
    model = load(tiny_bert)
    for docs in ([], [Doc(vocab)], [Doc(vocab), Doc(vocab)]):
        data = model.predict(docs).doc_data
        assert [len(doc_data.align.lengths) for doc_data in data] == [0] * len(docs)
    nlp = make_nlp(tiny_bert)
    assert [doc.ents for doc in nlp.pipe(["", ""])] == [(), ()]
    empty = [Example.from_dict(nlp.make_doc(""), {})]
    assert nlp.update(empty, sgd=Adam(0.001))["ner"] == 0
    assert nlp.update(empty + examples(nlp), sgd=Adam(0.001))["ner"] > 0


@pytest.mark.parametrize(
    ("device", "is_train", "limit", "expected"),
    [
        ("cpu", False, 4096, 4096),
        ("cuda", True, 4096, 4096),
        ("cuda", False, 1000, 4000),
        ("cuda", False, 4096, 16384),
        ("cuda", False, 8192, 16384),
        ("cuda", False, 20000, 20000),
    ],
)
def test_a_gpu_reads_more_pieces_together(device, is_train, limit, expected):
    assert _pieces_at_once(limit, torch.device(device), is_train) == expected


def test_what_is_kept_on_a_doc(tiny_bert, vocab):
    docs = [Doc(vocab, words=["Nile", "Oslox"]), Doc(vocab, words=["rose"])]
    batch = load(tiny_bert).predict(docs)
    first, second = batch.doc_data
    pieces = ["[CLS]", "nile", "oslo", "##x", "[SEP]"]
    assert first.wordpieces.strings == [pieces]
    assert batch.wordpieces.strings == [pieces, second.wordpieces.strings[0]]
    assert second.wordpieces.lengths == [3]
    assert second.wordpieces.attention_mask.tolist() == [[1, 1, 1, 0, 0]]


# Precision


def test_bfloat16_is_close(checkpoint, vocab):
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    exact = np.concatenate(word_vectors(load(checkpoint), docs))
    model = load(checkpoint, inference_precision="bfloat16")
    close = np.concatenate(word_vectors(model, docs))
    assert close.dtype == np.float32
    assert {p.dtype for p in weights(model).values()} == {torch.float32}
    assert 0 < np.abs(close - exact).max() < 0.1
    assert np.abs(close - exact).mean() < 0.01


def test_auto_takes_bfloat16_where_the_processor_has_it(tiny_bert, vocab, monkeypatch):
    docs = [Doc(vocab, words=TEXT[0].split())]
    for supported, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(
            "gmb_ner.pipeline.torch_transformer.has_bfloat16", lambda device, has=supported: has
        )
        auto = word_vectors(load(tiny_bert, inference_precision="auto"), docs)
        chosen = word_vectors(load(tiny_bert, inference_precision=precision), docs)
        np.testing.assert_array_equal(auto[0], chosen[0])


def test_emulated_bfloat16_does_not_count(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert not has_bfloat16(torch.device("cpu"))
    assert not has_bfloat16(torch.device("meta"))


def test_half_precision_checkpoints_become_float32(tiny_bert, tmp_path):
    BertModel.from_pretrained(tiny_bert).half().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    model = load(tmp_path)
    loaded = create_transformer_model(str(tmp_path)).from_bytes(model.to_bytes())
    for some in (model, loaded, model.copy()):
        assert {p.dtype for p in weights(some).values()} == {torch.float32}
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.torch_dtype == torch.float16
    assert {p.dtype for p in Encoder.from_config(config).parameters()} == {torch.float32}


# Updates


def test_gradients_are_those_of_the_plain_model(checkpoint, vocab):
    words = TEXT[1].split()
    model = load(checkpoint, transformer_config=NO_DROPOUT)
    one_step(model, [Doc(vocab, words=words)])
    plain = AutoModel.from_pretrained(checkpoint, **NO_DROPOUT).train()
    vectors = plain_vectors(checkpoint, words, plain=plain)
    d_vectors = np.random.default_rng(0).normal(size=vectors.shape).astype("f")
    vectors.backward(torch.from_numpy(d_vectors))
    expected = {
        f"transformer.{name}": p.grad for name, p in plain.named_parameters() if p.grad is not None
    }
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


def test_gradients_of_batches_add_up(tiny_bert, vocab):
    words = " ".join(TEXT).split() * 3
    docs = [Doc(vocab, words=words[:40]), Doc(vocab), Doc(vocab, words=words[:7])]
    d_vectors = [np.random.default_rng(i).normal(size=(len(doc), 32)) for i, doc in enumerate(docs)]

    def summed(*batches, **settings):
        model = load(tiny_bert, transformer_config=NO_DROPOUT, **settings)
        layer = chain(model, split_trf_batch(), pool_words(reduce_mean(), 1.0))
        for batch in batches:
            _, backprop = layer.begin_update([docs[i] for i in batch])
            backprop([d_vectors[i].astype("f") for i in batch])
        return gradients(model)

    expected = summed([0, 1, 2])
    for found in (summed([0], [1, 2]), summed([0, 1, 2], max_batch_pieces=40)):
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_decay", [True, False])
def test_steps_are_those_of_the_optimizer(tiny_bert, vocab, is_decay):
    """The fused steps, against thinc's own for each parameter."""
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    settings = {"learn_rate": 0.001, "L2": 0.1, "L2_is_weight_decay": is_decay, "grad_clip": 0.0}
    # thinc adds it where bias is not yet corrected, torch where it is.
    settings["eps"] = 1e-15
    model = load(tiny_bert, transformer_config=NO_DROPOUT)
    optimizer, reference = Adam(**settings), Adam(**settings)
    for seed in range(3):
        expected = {name: p.numpy() for name, p in weights(model).items()}
        one_step(model, docs, seed=seed)
        for name, gradient in gradients(model).items():
            expected[name], _ = reference((0, name), expected[name], gradient.numpy().copy())
        model.finish_update(optimizer)
        assert not gradients(model)
        for name, p in weights(model).items():
            np.testing.assert_allclose(p, expected[name], rtol=0, atol=2e-5, err_msg=name)


def test_gradients_are_clipped_by_their_common_norm(tiny_bert, vocab):
    docs = [Doc(vocab, words=TEXT[0].split())]
    clipped = load(tiny_bert, transformer_config=NO_DROPOUT)
    scaled = clipped.copy()
    clip, no_clip = Adam(0.001, grad_clip=1.0), Adam(0.001, grad_clip=0.0)
    norms = []
    for seed, factor in ((0, 1.0), (1, 0.001)):
        for model, optimizer in ((clipped, clip), (scaled, no_clip)):
            one_step(model, docs, seed=seed)
            found = gradients(model).values()
            norm = float(torch.cat([g.flatten() for g in found]).norm()) * factor
            for gradient in found:
                gradient *= factor
                if model is scaled and norm > 1:
                    gradient /= norm
            model.finish_update(optimizer)
        norms.append(norm)
    assert norms[0] > 1 > norms[1]
    for name, p in weights(scaled).items():
        torch.testing.assert_close(weights(clipped)[name], p, rtol=0, atol=1e-6)


OPTIMIZERS = {
    "AdamW": lambda: Adam(0.01, grad_clip=0.0),
    "Adam": lambda: Adam(0.01, grad_clip=0.0, L2=0.1, L2_is_weight_decay=False),
    "RAdam": lambda: RAdam(0.01, grad_clip=0.0),
    "SGD": lambda: SGD(0.01, grad_clip=0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sparse_gradient_of_the_embeddings_is_a_dense_one_of_zeros(tiny_bert, vocab, name):
    sparse = load(tiny_bert, transformer_config=NO_DROPOUT)
    dense = sparse.copy()
    optimizers = [OPTIMIZERS[name](), OPTIMIZERS[name]()]
    # What is learned of one batch's pieces has to be gone when the next one has others.
    for text in TEXT:
        docs = [Doc(vocab, words=text.split())]
        for model in (sparse, dense):
            one_step(model, docs)
        assert sparse.transformer.get_input_embeddings().weight.grad.is_sparse
        make_gradients_dense(dense)
        for model, optimizer in zip((sparse, dense), optimizers, strict=True):
            model.finish_update(optimizer)
        for parameter, p in weights(dense).items():
            torch.testing.assert_close(weights(sparse)[parameter], p, msg=parameter)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learn_rate_factor(tiny_bert, vocab, name):
    docs = [Doc(vocab, words=TEXT[0].split())]
    sizes = {}
    for factor in (0.0, 0.5, 1.0):
        model = load(tiny_bert, learn_rate_factor=factor, transformer_config=NO_DROPOUT)
        before = weights(model)
        one_step(model, docs, OPTIMIZERS[name]())
        after = weights(model)
        sizes[factor] = sum(float((after[p] - before[p]).abs().sum()) for p in before)
        assert equal(after, before) == (factor == 0)
    assert sizes[0.5] == pytest.approx(sizes[1.0] / 2, rel=1e-3)


def test_every_training_begins_with_new_moments(tiny_bert, vocab):
    docs = [Doc(vocab, words=TEXT[0].split())]
    model = load(tiny_bert, transformer_config=NO_DROPOUT)
    start = model.to_bytes()
    one_step(model, docs, Adam(0.001), seed=1)
    expected = weights(model)
    one_step(model, docs, optimizer := Adam(0.001), seed=2)
    # Loading gives the model another encoder; the old one's moments do not belong to it.
    for sgd in (optimizer, Adam(0.001)):
        model.from_bytes(start)
        one_step(model, docs, sgd, seed=1)
        assert equal(weights(model), expected)


@pytest.mark.parametrize("name", ["AdamW", "RAdam"])
def test_averages_of_the_weights(tiny_bert, vocab, name):
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    model = load(tiny_bert, transformer_config=NO_DROPOUT)
    optimizer = OPTIMIZERS[name]()
    optimizer.averages = {}
    seen = []
    for seed in range(3):
        one_step(model, docs, optimizer, seed=seed)
        seen.append(weights(model))
    with model.use_params(optimizer.averages):
        averaged = weights(model)
    assert equal(weights(model), seen[-1])
    parameter = "transformer.encoder.layer.0.output.dense.weight"
    # thinc's rule: the newest of t counts 9 / (10 + t); our own steps begin with the first weights.
    expected = seen[0][parameter] * (1.0 if name == "AdamW" else 9 / 11)
    for updates, after in enumerate(seen[1:], start=2):
        expected = torch.lerp(expected, after[parameter], 9 / (10 + updates))
    torch.testing.assert_close(averaged[parameter], expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(averaged[parameter], seen[-1][parameter])


def test_no_averages_unless_asked_for(tiny_bert, vocab):
    model = load(tiny_bert)
    one_step(model, [Doc(vocab, words=["Nile"])], Adam(0.001, use_averages=False))
    before = weights(model)
    with model.use_params({}):
        assert equal(weights(model), before)


def test_only_the_first_layers(tiny_bert, vocab, caplog, capfd):
    whole = load(tiny_bert, transformer_config=NO_DROPOUT)
    assert not caplog.messages
    first = load(tiny_bert, transformer_config=NO_DROPOUT | {"num_hidden_layers": 1})
    (told,) = caplog.messages
    assert "16 of its weights are not read, from encoder.layer.1.attention" in told
    assert "BertModel" not in "".join(capfd.readouterr())  # nor does transformers say it again
    first = first.from_bytes(first.to_bytes())
    layers = [model.transformer.transformer.encoder.layer for model in (first, whole)]
    assert len(layers[0]) == 1 < len(layers[1])
    for found, expected in zip(layers[0].parameters(), layers[1][0].parameters(), strict=True):
        assert torch.equal(found, expected)
    docs = [Doc(vocab, words=TEXT[0].split())]
    assert not np.allclose(word_vectors(first, docs)[0], word_vectors(whole, docs)[0])


def test_more_layers_than_the_checkpoint_has(checkpoint):
    with pytest.raises(ValueError, match=r"has no weights for encoder\.layer\.2\..* more: .* asks"):
        load(checkpoint, transformer_config={"num_hidden_layers": 3})


def test_frozen_embeddings(checkpoint, vocab):
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    model = load(checkpoint, freeze_embeddings=True, case_embeddings=True)
    # Freezing belongs to training and outlives a way to disk and back.
    model = model.from_bytes(model.to_bytes())
    before = weights(model)
    (frozen,) = [name for name in before if "word_embeddings" in name]
    one_step(model, docs)
    learned = set(gradients(model))
    one_step(model, docs, Adam(0.01, L2=0.1))
    after = weights(model)
    assert {name for name in before if not torch.equal(after[name], before[name])} == learned
    assert "case_embeddings.weight" in learned
    free = load(checkpoint, case_embeddings=True)
    one_step(free, docs)
    assert set(gradients(free)) == learned | {frozen} and frozen not in learned


def test_the_encoder_reads_without_dropout_and_learns_with_it(checkpoint, vocab):
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    model = load(checkpoint)
    model.predict(docs)
    assert not model.transformer.training
    model.begin_update(docs)
    assert model.transformer.training
    model.predict(docs)
    assert not any(module.training for module in model.transformer.modules())


# Case


def test_case_embeddings_are_zero_at_the_start(checkpoint, vocab):
    docs = [Doc(vocab, words=text.split()) for text in [*TEXT, "NATO 2006"]]
    model = load(checkpoint, case_embeddings=True)
    added = weights(model)["case_embeddings.weight"]
    embeddings = model.transformer.transformer.get_input_embeddings().weight
    assert added.shape == (len(CASES), embeddings.shape[1])
    assert not added.any()
    for some, others in zip(
        word_vectors(model, docs), word_vectors(load(checkpoint), docs), strict=True
    ):
        np.testing.assert_allclose(some, others, **TOLERANCE)
    assert "case_embeddings.weight" not in weights(load(checkpoint))


def test_case_embeddings_are_learned(checkpoint, vocab):
    model = load(checkpoint, case_embeddings=True)
    one_step(model, [Doc(vocab, words=["the", "Nile", "rose", "."])], Adam(0.01, L2=0.1))
    learned = weights(model)["case_embeddings.weight"].any(dim=1)
    seen = {"special", "lower", "Title", "other"}
    assert {name for name, row in zip(CASES, learned, strict=True) if row} == seen


def test_case_changes_what_a_lower_casing_encoder_reads(tiny_bert, vocab):
    lower, title = Doc(vocab, words=["the", "rose"]), Doc(vocab, words=["the", "Rose"])
    model = load(tiny_bert, case_embeddings=True)
    some, others = word_vectors(model, [lower, title])
    np.testing.assert_array_equal(some, others)
    one_step(model, [title], Adam(0.01))
    some, others = word_vectors(model, [lower, title])
    assert np.abs(some - others).max() > 0.001


@pytest.mark.parametrize("way", ["disk", "bytes", "copy"])
def test_case_embeddings_are_saved_with_the_pipeline(tiny_bert, vocab, tmp_path, way):
    nlp = make_nlp(tiny_bert, case_embeddings=True)
    train(nlp, 2)
    model = nlp.get_pipe("transformer").model
    if way == "disk":
        nlp.to_disk(tmp_path / "model")
        loaded = spacy.load(tmp_path / "model").get_pipe("transformer").model
    elif way == "bytes":
        loaded = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
        loaded = loaded.get_pipe("transformer").model
    else:
        loaded = model.copy()
        one_step(model, [Doc(vocab, words=["Nile"])], SGD(0.0))
    assert weights(loaded)["case_embeddings.weight"].any()
    assert equal(weights(loaded), weights(model))
    docs = [Doc(vocab, words=["the", "Nile", "NILE"])]
    np.testing.assert_array_equal(word_vectors(loaded, docs)[0], word_vectors(model, docs)[0])


def test_a_copy_has_weights_of_its_own(tiny_bert, vocab):
    model = load(tiny_bert)
    before = weights(model)
    copied = model.copy()
    one_step(copied, [Doc(vocab, words=["Nile"])], Adam(0.01))
    assert equal(weights(model), before)
    assert not equal(weights(copied), before)
    # Without weights there is nothing to share.
    assert not create_transformer_model(str(tiny_bert)).copy().attrs["has_transformer"]


# Pipelines


def test_stock_ner_trains_and_predicts(checkpoint, tmp_path):
    nlp = make_nlp(checkpoint)
    before = weights(nlp.get_pipe("transformer").model)
    losses = train(nlp, 40)
    assert losses[-1] < losses[0] / 5
    assert not equal(weights(nlp.get_pipe("transformer").model), before)
    assert entities(nlp)[:3] == [
        [("Ada Lin", "per"), ("Oslo", "geo"), ("Monday", "tim")],
        [("Nile", "geo")],
        [],
    ]
    nlp.to_disk(tmp_path)
    assert entities(spacy.load(tmp_path)) == entities(nlp)


def test_replaced_listeners(tiny_bert, tmp_path):
    nlp = make_nlp(tiny_bert, case_embeddings=True, learn_rate_factor=0.5)
    train(nlp, 25)
    expected = entities(nlp)
    shared = weights(nlp.get_pipe("transformer").model)
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    settings = nlp.config["components"]["ner"]["model"]["tok2vec"]
    assert settings["@architectures"] == "gmb_ner.Tok2VecTransformer.v1"
    assert (settings["window"], settings["learn_rate_factor"]) == (32, 0.5)
    nlp.remove_pipe("transformer")
    assert entities(nlp) == expected
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert entities(loaded) == expected
    assert equal(weights(loaded.get_pipe("ner").model), shared)
    train(loaded, 1)
    assert not equal(weights(loaded.get_pipe("ner").model), shared)


def test_transformer_within_a_component(tiny_bert):
    nlp = make_nlp(tiny_bert, tok2vec="gmb_ner.Tok2VecTransformer.v1")
    losses = train(nlp, 40)
    assert losses[-1] < losses[0] / 5
    assert entities(nlp)[1] == [("Nile", "geo")]


# Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inference_precision": "half"}, "'half': choose one of auto, float32, bfloat16"),
        ({"precision": "float16"}, "'float16': choose one of auto, float32, bfloat16"),
        ({"window": 20, "context": 9}, "window of 20 pieces has no room for 9 of context"),
        (
            {"inference_window": 8, "inference_context": 3},
            "window of 8 pieces has no room for 3 of context",
        ),
        ({"context": -1}, "no room for -1 of context"),
    ],
)
def test_settings_that_do_not_fit(tiny_bert, settings, message):
    with pytest.raises(ValueError, match=message):
        create_transformer_model(str(tiny_bert), **settings)
    with pytest.raises(ValueError, match=message):
        create_tok2vec_transformer(str(tiny_bert), reduce_mean(), **settings)


def test_a_window_longer_than_the_checkpoint_reads(checkpoint, vocab):
    # BERT's and DeBERTa's positions; RoBERTa's begin behind its padding index, 1.
    limit = {"tiny-bert": 512, "tiny-deberta": 64, "tiny-roberta": 64}[checkpoint.name]
    with pytest.raises(ValueError, match=f"at most {limit} pieces at once: set window, now "):
        load(checkpoint, window=limit + 1)
    for case_embeddings in (False, True):
        model = load(checkpoint, window=limit, case_embeddings=case_embeddings)
        (pieces,) = model.word_pieces().encode_words(["x"])
        doc = Doc(vocab, words=["x"] * ((limit - 2) // len(pieces)))
        assert model.word_pieces()([doc]).lengths.tolist() == [limit]
        assert len(word_vectors(model, [doc])[0]) == len(doc)


def test_prediction_may_have_windows_of_its_own(tiny_bert, vocab):
    doc = Doc(vocab, words=["oslo"] * 40)
    model = load(tiny_bert, window=32, inference_window=16, inference_context=4)
    short = load(tiny_bert, window=16, context=4)
    assert max(model.word_pieces(is_train=True)([doc]).lengths) > 16
    assert max(model.word_pieces()([doc]).lengths) <= 16
    np.testing.assert_allclose(
        word_vectors(model, [doc])[0], word_vectors(short, [doc])[0], **TOLERANCE
    )
    trained, _ = model.begin_update([doc])
    assert max(trained.wordpieces.lengths) > 16


def test_a_window_of_prediction_longer_than_the_checkpoint_reads(tiny_bert):
    with pytest.raises(ValueError, match="at most 512 pieces at once"):
        load(tiny_bert, inference_window=513)


def test_a_tokenizer_may_set_a_lower_limit(tiny_bert):
    with pytest.raises(ValueError, match="reads at most 16 pieces"):
        load(tiny_bert, window=17, context=0, tokenizer_config={"model_max_length": 16})


def test_a_tokenizer_without_special_pieces(tiny_bert, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert).backend_tokenizer
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(tmp_path)
    BertModel.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no special pieces for start, end and padding"):
        load(tmp_path)


def test_settings_of_the_checkpoint_can_be_changed(tiny_bert):
    model = load(tiny_bert, transformer_config={"attention_probs_dropout_prob": 0.25})
    assert model.transformer.config.attention_probs_dropout_prob == 0.25


def test_the_way_attention_is_calculated_is_a_setting_of_training(tiny_bert, vocab):
    docs = [Doc(vocab, words=text.split()) for text in TEXT]
    plain = load(tiny_bert, transformer_config={"attn_implementation": "eager"})
    fused = load(tiny_bert)
    assert plain.transformer.config._attn_implementation == "eager"
    assert fused.transformer.config._attn_implementation == "sdpa"
    for some, others in zip(word_vectors(plain, docs), word_vectors(fused, docs), strict=True):
        np.testing.assert_allclose(some, others, **TOLERANCE)
    # What is loaded takes what is fastest there.
    assert plain.copy().transformer.config._attn_implementation == "sdpa"


def test_importing_it_does_not_need_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import gmb_ner.pipeline.transformer\n"
        "assert not {'transformers', 'spacy_transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_does_not_wait_for_threads_it_has_not_got():
    code = (
        "import os, torch\n"
        "import gmb_ner.pipeline.torch_encoder\n"
        "torch.set_num_threads(2)\n"
        "torch.ones(10**7).sum()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    torch.ones(10**7).sum()\n"
        "    os._exit(40 + torch.get_num_threads())\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 41\n"
        "assert torch.get_num_threads() == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

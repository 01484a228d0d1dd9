"""What tests of several rooms share: a tiny BERT and the converted sample."""

from pathlib import Path

import pytest

from gmb_ner.corpus.convert import Options, convert
from gmb_ner.files import file_digest, write_json

ROOT = Path(__file__).parent.parent

WORDS = ["ada", "lin", "visited", "oslo", "on", "monday", "the", "nile", "rose", "."]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A directory as save_pretrained leaves it: the real classes, random weights, real files."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    folder.mkdir()
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    pieces += [f"##{letter}" for letter in letters]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    tokenizer = BertTokenizerFast(
        str(folder / "vocab.txt"), do_lower_case=True, model_max_length=512
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sample_corpus(tmp_path_factory):
    """The built-in sample, converted: a folder with train, dev and test Docs and the records."""
    folder = tmp_path_factory.mktemp("sample")
    csv = ROOT / "corpus" / "sample.csv"
    record = {
        "corpus": "sample",
        "sample": True,
        "file": csv.name,
        "sha256": file_digest(csv),
        "bytes": csv.stat().st_size,
        "origin": "built in",
        "licence": "MIT",
        "source": "the built-in sample",
    }
    write_json(folder / "corpus.json", record)
    convert(csv, folder / "corpus.json", folder / "corpus", Options())
    return folder / "corpus"

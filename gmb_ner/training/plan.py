"""Which config is trained, on what, and how long that will take: settled before anything long."""

from collections.abc import Callable, Mapping
from configparser import Error as ConfigParserError
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thinc.api import Config

from gmb_ner.assets.encoders import ENCODERS, bert_available, own_encoder
from gmb_ner.corpus.gmb import ROWS
from gmb_ner.errors import InputError
from gmb_ner.files import file_digest, folder_digest
from gmb_ner.training.hardware import Device, choose_device, matmul_flops
from gmb_ner.training.precision import cpu_has_bfloat16

NAMES = (
    *("minilm", "minilm-fast", "bert", "minilm-stock", "bert-stock"),
    *("cnn", "crf", "bilstm", "bilstm-crf", "study-a", "study-b"),
)
CONFIGS = {name: f"configs/{name}.cfg" for name in NAMES}

MIN_STEPS = 300  # a small corpus is gone through more often than the config says

BYTES_PER_WORD = 14.5  # a row of the real file; to guess the words of another
TRAINED_SHARE = 0.76  # of all words: neither test nor dev (canonical)

_OURS = {"minilm", "minilm-fast", "bert"}  # the configs of `gmb_ner.TransformerModel.v1`

# Parameters that each piece is multiplied with: all but the embeddings.
_DENSE_PARAMETERS = {"minilm": 10.7e6, "bert": 85.6e6}
_LAYERS_READ = {"minilm-fast": 0.5}  # the share of the encoder's layers that its config keeps
_EPOCHS = {
    **{"minilm": 2, "minilm-fast": 2, "bert": 5, "minilm-stock": 2, "bert-stock": 5, "study-b": 5},
    # Of 1,250 sentences, read 20 times.
    **{"study-a": 0.7, "cnn": 3, "crf": 5, "bilstm": 3, "bilstm-crf": 3},
}
_PIECES_PER_WORD = 1.3
_WORDS_PER_STEP = 1000
# Set by hand: the share of the matrix products' speed that an update reaches, in float32 and in
# half precision, and what everything beside the encoder takes. Each was held against one training
# on two cores: "ours" against configs/minilm.cfg in float32 (20 min) and in bfloat16 (19 min, of
# another machine), "stock" against configs/minilm-stock.cfg in bfloat16 (29 min) and taken over
# for float32; nobody has held a GPU or configs/cnn.cfg against a clock.
# configs/crf.cfg counts as five epochs.
_EFFICIENCY = {
    ("ours", False): 0.6,
    ("ours", True): 0.31,
    ("stock", False): 0.25,
    ("stock", True): 0.25,
}
_OTHER_WORDS_PER_SECOND = {"ours": 10_000, "stock": 6_000}


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    config: one of `NAMES`, or what names a user's own file, without folders if these are those of
        one machine; path: the file.
    encoder: key in `gmb_ner.assets.encoders.ENCODERS`, or None where nothing is to be fetched.
    sha256: of what is the user's own, config and encoder, so that others are trained anew; else "".
    reason: of the choice, in words.
    minutes: estimate of the training time on the whole corpus; None for a user's own config.
    """

    config: str
    path: str
    encoder: str | None
    gpu_id: int
    sha256: str
    reason: str
    minutes: float | None

    def lasting(self) -> dict[str, Any]:
        """What later steps depend on: no figure that changes from run to run."""
        kept = asdict(self)
        del kept["reason"], kept["minutes"]
        return kept


def make_plan(
    config: str,
    gpu_id: str,
    *,
    encoder_dir: str | None = None,
    words: int = ROWS,
    max_steps: int = 0,
    bert: Callable[[str | None], tuple[bool, str]] = bert_available,
) -> Plan:
    """Settle config and device.

    config: "auto", one of `NAMES`, or a path of a config file.
    gpu_id: "auto", or a number as text (-1: CPU).
    encoder_dir: a local directory that holds the encoder.
    words: words in the corpus (one a row), and max_steps: batches after which training ends (0:
        none), for the estimate.
    bert: says whether bert-base-cased can be had, and why (not).
    Raises InputError for what cannot be had.
    """
    device, why_device = choose_device(gpu_id)
    if config == "auto":
        config, reason = _choose_config(device, why_device, encoder_dir, bert)
    elif config in CONFIGS:
        if encoder_dir and encoder_of(config) is None:
            raise InputError(
                f"Config {config} reads no encoder: leave --vars.encoder out, or name another "
                "config."
            )
        reason = f"config {config} was asked for; {device.name}, as {why_device}"
        if encoder_of(config) == "bert":
            there, why = bert(encoder_dir)
            if not there:
                raise InputError(
                    f"Config {config} was asked for and its encoder cannot be had ({why}); name a "
                    f"directory by --vars.encoder or ${ENCODERS['bert'].variable}, or use "
                    "--vars.config minilm."
                )
    else:
        return _own_config(config, device, why_device, encoder_dir)
    minutes = estimate_minutes(config, device, words, max_steps)
    encoder, digest = encoder_of(config), ""
    if encoder == "bert" and (own := own_encoder(encoder_dir, ENCODERS["bert"])):
        digest = folder_digest(own)
    return Plan(config, CONFIGS[config], encoder, device.gpu_id, digest, reason, minutes)


def estimate_minutes(config: str, device: Device, words: int, max_steps: int = 0) -> float:
    """Minutes that training takes: counted operations over this machine's measured speed.

    words: in the corpus. max_steps: batches after which it ends, 0 for all epochs.
    """
    half = device.gpu_id >= 0 or cpu_has_bfloat16()
    kind = "ours" if config in _OURS else "stock"
    epoch = words * TRAINED_SHARE
    step = min(_WORDS_PER_STEP, epoch)
    trained = max(_EPOCHS[config] * epoch, MIN_STEPS * step)
    if max_steps:
        trained = min(trained, max_steps * step)
    seconds = trained / _OTHER_WORDS_PER_SECOND[kind]
    if encoder := encoder_of(config):
        dense = _DENSE_PARAMETERS[encoder] * _LAYERS_READ.get(config, 1)
        flops = 6 * dense * _PIECES_PER_WORD * trained
        seconds += flops / (_EFFICIENCY[kind, half] * matmul_flops(device.gpu_id, half))
    return seconds / 60


def encoder_of(config: str) -> str | None:
    """The key in `ENCODERS` of the encoder that one of `NAMES` trains, if it trains one."""
    key = "minilm" if config.startswith("study-") else config.partition("-")[0]
    return key if key in ENCODERS else None


def words_in(csv: Path) -> int:
    """About how many words a file holds, by its size."""
    return max(1, round(csv.stat().st_size / BYTES_PER_WORD))


def _choose_config(
    device: Device,
    why_device: str,
    encoder_dir: str | None,
    bert: Callable[[str | None], tuple[bool, str]],
) -> tuple[str, str]:
    if device.gpu_id < 0:
        return "minilm", f"{device.name}, as {why_device}, and minilm is made for CPUs"
    there, why = bert(encoder_dir)
    if there:
        return "bert", f"{device.name}, as {why_device}, and {why}"
    return "minilm", f"{device.name}, as {why_device}; not bert, as {why}"


def _own_config(config: str, device: Device, why_device: str, encoder_dir: str | None) -> Plan:
    path = Path(config)
    if path.suffix != ".cfg" or not path.is_file():
        raise InputError(
            f"There is no config {config}: give auto, {', '.join(CONFIGS)}, or the path of a .cfg "
            "file."
        )
    reason = f"the config file {config} was named; {device.name}, as {why_device}"
    try:
        paths = Config().from_disk(path, interpolate=False).get("paths", {})
    except (ValueError, ConfigParserError) as error:
        raise InputError(f"{config} is no config that spaCy can read ({error}).") from error
    encoder = "minilm" if paths.get("encoder") == "assets/minilm" else None
    digest = file_digest(path)
    if encoder is None:
        digest += _encoder_digest(config, paths, encoder_dir)
    name = path.name if path.is_absolute() else path.as_posix()
    return Plan(name, config, encoder, device.gpu_id, digest, reason, None)


def _encoder_digest(config: str, paths: Mapping[str, Any], encoder_dir: str | None) -> str:
    """Of the directory of an encoder that is the user's own; "" where there is none."""
    if encoder_dir and "encoder" not in paths:
        raise InputError(
            f"{config} has no `encoder` in its [paths] that --vars.encoder could replace: add it, "
            "or leave the option out."
        )
    if encoder_dir and not Path(encoder_dir).is_dir():
        raise InputError(f"{encoder_dir}, named by --vars.encoder, is not a directory: correct it.")
    named = encoder_dir or paths.get("encoder")
    own = Path(named) if isinstance(named, str) and named else None
    return folder_digest(own) if own is not None and own.is_dir() else ""

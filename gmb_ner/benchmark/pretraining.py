"""Word vectors in context from a language model: ELMo's idea, as `spacy pretrain` does it."""

from pathlib import Path
from typing import Any

import srsly
from spacy.training.pretrain import pretrain as spacy_pretrain
from spacy.util import load_config

from gmb_ner.benchmark.word_vectors import training_sentences
from gmb_ner.files import work_folder

CONFIG = Path("configs/cnn-pretrained.cfg")
EPOCHS = 3


def pretrain(corpus: Path, folder: Path, seed: int, *, config: Path = CONFIG) -> dict[str, Any]:
    """Teach the tok2vec of a config to tell the letters of each word from the words around it.

    It reads the text of the training part, for `EPOCHS` epochs. Returns the config's settings.

    config: with a section `pretraining`, without which spaCy's training leaves the weights unused.
    """
    made = folder / "tok2vec.bin"
    if not made.is_file():
        with work_folder(made) as work:
            texts = ({"text": doc.text} for doc in training_sentences(corpus))
            srsly.write_jsonl(work / "text.jsonl", texts)
            overrides = {
                "paths.train": (corpus / "train.spacy").as_posix(),
                "paths.dev": (corpus / "dev.spacy").as_posix(),
                "paths.raw_text": (work / "text.jsonl").as_posix(),
                "system.seed": seed,
                "pretraining.max_epochs": EPOCHS,
            }
            complete = load_config(config, overrides).interpolate()
            spacy_pretrain(complete, work, silent=False, skip_last=True)
            (work / f"model{EPOCHS - 1}.bin").replace(made)
    return {"paths.init_tok2vec": made.as_posix()}

"""Load a pipeline that a user named."""

import spacy
from spacy.language import Language

from gmb_ner.errors import InputError


def load_model(name: str) -> Language:
    """Load an installed package or a folder; raises InputError where there is none."""
    try:
        return spacy.load(name)
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"{name} cannot be loaded ({error}).") from error

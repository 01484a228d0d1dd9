"""A pipeline that finds what it is told to."""

import pytest
import spacy


@pytest.fixture(scope="session")
def ruler(tmp_path_factory):
    """The folder of a pipeline that knows two entities."""
    nlp = spacy.blank("en")
    patterns = [{"label": "geo", "pattern": "Oslo"}, {"label": "per", "pattern": "Ada Lin"}]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    folder = tmp_path_factory.mktemp("ruler") / "model"
    nlp.to_disk(folder)
    return folder

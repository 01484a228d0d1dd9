"""All known counts of the real corpus, through fetch, convert and the check of the Docs.

The corpus is not part of the project: where it is not at hand there is nothing to collect here,
and CI's other tests stand for it.
"""

import os
from pathlib import Path

import pytest

from gmb_ner.assets.corpus import VARIABLE, fetch_corpus
from gmb_ner.corpus import gmb
from gmb_ner.corpus.check import check_corpus
from gmb_ner.corpus.convert import Options, convert

ROOT = Path(__file__).parents[2]
AT_HAND = VARIABLE in os.environ or (ROOT / "../shared/corpus/ner_dataset.zip").is_file()

ENTITIES = {
    **{"geo": 37_644, "tim": 20_333, "org": 20_143, "per": 16_990},
    **{"gpe": 15_870, "art": 402, "eve": 308, "nat": 201},
}


def convert_real(tmp_path, protocol):
    fetched = fetch_corpus(tmp_path, project_dir=ROOT, require=True, offline=True, progress=False)
    assert fetched.corpus == "gmb"
    out = tmp_path / "corpus"
    converted = convert(fetched.path, tmp_path / "corpus.json", out, Options(protocol=protocol))
    return converted.manifest, converted.audit, check_corpus(out)["parts"]


def check_audit(audited):
    assert audited["rows"] == {"read": 1_048_575, "kept": 1_048_575, "dropped": {}}
    assert audited["tags"] == gmb.TAGS and len(gmb.TAGS) == 17
    assert audited["entities"] == {"count": 111_891, **ENTITIES}
    assert audited["read_as"]["encoding"] == "cp1252"
    assert audited["read_as"]["scheme"] == "iob2"
    # One word holds a no-break space; as latin-1, four ellipses would be white space, too.
    assert audited["repairs"] == {"white space inside word": 1}
    found = audited["sentences"]
    assert (found["count"], found["without_entities"]) == (47_959, 7_042)
    assert (found["words_min"], found["words_median"], found["words_max"]) == (1, 21, 104)
    assert (found["surplus_copies"], found["repeated_groups"]) == (384, 298)
    assert found["repeated_groups_with_conflicting_tags"] == 35
    assert found["agreement"] == pytest.approx(0.9323, abs=5e-5)
    assert audited["alignment"]["share_aligned"] >= 0.999


if AT_HAND:

    def test_canonical_reproduces_the_published_split(tmp_path):
        manifest, audited, parts = convert_real(tmp_path, "canonical")
        check_audit(audited)
        assert parts["test"]["sentences"] == 9_592
        assert parts["test"]["entities"] == gmb.CANONICAL_TEST_ENTITIES
        assert sum(gmb.CANONICAL_TEST_ENTITIES.values()) == 22_532
        assert parts["train"]["sentences"] + parts["dev"]["sentences"] == 38_367
        assert manifest["sentences_left_out"] == 0
        assert sum(part["words"] for part in parts.values()) == 1_048_575

    def test_contiguous_keeps_whole_stories_apart(tmp_path):
        manifest, audited, parts = convert_real(tmp_path, "contiguous")
        check_audit(audited)
        # The borders of the shares, less 57 and 137 sentences whose text stands in an earlier part.
        assert parts["train"]["sentences"] == 33_571
        assert parts["dev"]["sentences"] == 4_796 - 57
        assert parts["test"]["sentences"] == 9_592 - 137
        assert manifest["sentences_left_out"] == 57 + 137
        assert sum(parts["test"]["entities"].values()) == 22_271
        assert manifest["test_sentences_also_in_train_or_dev"] == 0

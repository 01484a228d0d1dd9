import pytest

from gmb_ner.errors import InputError
from gmb_ner.reproduce import check_trained_on, run_command, source_of

GMB = {"corpus": "gmb", "sample": False, "protocol": "canonical", "sentences_per_doc": 5}


def test_the_corpus_needs_no_csv():
    command = run_command(GMB, {"config": "minilm", "seed": 3})
    assert command == (
        "spacy project run all . --vars.config minilm --vars.protocol canonical --vars.seed 3"
    )


def test_the_sample_and_few_steps_are_named():
    manifest = {**GMB, "corpus": "sample", "sample": True}
    command = run_command(manifest, {"config": "crf", "seed": 0, "max_steps": 60})
    assert "--vars.csv corpus/sample.csv" in command and command.endswith("--vars.max_steps 60")


def test_a_csv_of_ones_own_is_named_and_quoted():
    manifest = {**GMB, "corpus": "drugs", "source": {"file": "my drugs.csv"}}
    command = run_command({**manifest, "sentences_per_doc": 1}, {"config": "crf", "seed": None})
    assert "--vars.csv 'my drugs.csv'" in command and "seed" not in command
    assert command.endswith("--vars.sentences_per_doc 1")


WORDS = {"corpus": "words", "protocol": "canonical", "parts": {"train": {"sha256": "1"}}}


def test_what_was_trained_on_is_what_is_converted():
    check_trained_on({"source": source_of(WORDS)}, WORDS)
    check_trained_on({"config": "minilm"}, WORDS)  # made by hand: nothing is known
    sample = {**WORDS, "sample": True}
    assert source_of(sample)["corpus"] == "sample"
    check_trained_on({"source": source_of(sample)}, sample)
    # Corrected where nothing is learned from.
    parts = {**WORDS["parts"], "test": {"sha256": "3"}}
    check_trained_on({"source": source_of(WORDS)}, {**WORDS, "parts": parts})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"corpus": "news"}, "news (canonical)"),
        ({"protocol": "contiguous"}, "words (contiguous)"),
        ({"parts": {"train": {"sha256": "2"}}}, "another version of it"),
    ],
)
def test_another_corpus_than_the_one_trained_on_is_refused(change, told):
    with pytest.raises(InputError) as error:
        check_trained_on({"source": source_of(WORDS)}, {**WORDS, **change})
    assert str(error.value) == (
        f"The pipeline was trained on words (canonical), and what is converted now is {told}: run "
        "`spacy project run train --force`, or fetch and convert that corpus again."
    )

"""What became of a job that was killed is looked at text by text."""

import json

import pytest
import spacy
from spacy.tokens import Doc

from gmb_ner.benchmark.endurance import annotate_with_kills, check_output, write_texts
from gmb_ner.errors import InputError


@pytest.fixture
def texts(tmp_path):
    doc = Doc(
        spacy.blank("en").vocab,
        words=["Ada", "saw", "Oslo", ".", "It", "rained", "."],
        sent_starts=[True, False, False, False, True, False, False],
    )
    write_texts([doc], 5, tmp_path / "texts.jsonl")
    return tmp_path / "texts.jsonl"


def write_output(folder, *shards):
    folder.mkdir()
    names = ["Ada saw Oslo .", "It rained ."]
    for index, numbers in enumerate(shards):
        lines = [json.dumps({"id": i, "text": names[i % 2], "entities": []}) for i in numbers]
        (folder / f"part-{index:05}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


def test_sentences_are_numbered_and_repeated(texts):
    written = [json.loads(line) for line in texts.read_text().splitlines()]
    assert [text["id"] for text in written] == [0, 1, 2, 3, 4]
    assert [text["text"] for text in written[1:3]] == ["It rained .", "Ada saw Oslo ."]


def test_a_complete_output(texts, tmp_path):
    assert check_output(texts, write_output(tmp_path / "out", [0, 1, 2], [3, 4])) == (5, 18)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (([0, 1, 2], [4]), "Text 3 of .* is not in its place"),
        (([0, 1, 2], [2, 3, 4]), "Text 3 of .* is not in its place"),
        (([0, 2, 1], [3, 4]), "Text 1 of .* is not in its place"),
        (([0, 1, 2], [3]), "Text 4 of .* is not in its place"),
        (([0, 1, 2], [3, 4], [4]), "has more texts than"),
    ],
)
def test_what_is_missing_twice_or_misplaced_is_told(shards, message, texts, tmp_path):
    with pytest.raises(InputError, match=message):
        check_output(texts, write_output(tmp_path / "out", *shards))


@pytest.mark.parametrize("left", [".part-00001.jsonl.x1.part", "errors/part-00000.jsonl"])
def test_what_is_left_behind_is_told(left, texts, tmp_path):
    output = write_output(tmp_path / "out", [0, 1, 2], [3, 4])
    (output / left).parent.mkdir(exist_ok=True)
    (output / left).touch()
    with pytest.raises(InputError, match="holds what should not be there"):
        check_output(texts, output)


def test_a_command_that_fails(texts, tmp_path):
    with pytest.raises(InputError, match="The command ended with code 1"):
        annotate_with_kills(texts, tmp_path / "out", "no-such-model", kills=0, every=1)


def test_kills_that_came_too_late(texts, tmp_path):
    with pytest.raises(InputError, match="3 kills were left when all was done"):
        annotate_with_kills(texts, tmp_path / "out", "no-such-model", kills=3, every=600)

"""The same predictions by the measures of others, which have to agree with ours."""

from collections.abc import Iterator, Sequence

from gmb_ner.evaluation.report import tag_sequences
from gmb_ner.evaluation.scored import ScoredDoc
from gmb_ner.evaluation.scores import f_score, sentence_counts

Chunk = tuple[int, int, str]


def agreement(docs: Sequence[ScoredDoc]) -> dict[str, float]:
    """The strict micro F1 (0..1) by three definitions: ours, seqeval's and CoNLL's."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    gold, predicted = tag_sequences(docs)
    seqeval = f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
    return {
        "gmb_ner": float(f_score(*sentence_counts(docs).sum(axis=0))),
        "seqeval": float(seqeval),
        "conlleval": conll_f1(gold, predicted),
    }


def conll_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro F1 of chunks, as the evaluation script of the CoNLL-2000 shared task counts them.

    Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 Shared Task: Chunking" (2000).
    Tags are IOB1 or IOB2: an I- after O or after another label begins a chunk as well.
    """
    right = guessed = known = 0
    for gold_tags, predicted_tags in zip(gold, predicted, strict=True):
        correct, found = set(_chunks(gold_tags)), set(_chunks(predicted_tags))
        right += len(correct & found)
        guessed += len(found)
        known += len(correct)
    return f_score(right, guessed - right, known - right)


def _chunks(tags: Sequence[str]) -> Iterator[Chunk]:
    start, label = 0, ""
    for i, tag in enumerate([*tags, "O"]):
        prefix, _, here = tag.partition("-")
        if label and (prefix != "I" or here != label):
            yield start, i, label
            label = ""
        if here and not label:
            start, label = i, here

"""The same predictions by the measures of others, which have to agree with ours."""

from collections.abc import Sequence

from gmb_ner.evaluation.report import tag_sequences
from gmb_ner.evaluation.scored import ScoredDoc
from gmb_ner.evaluation.scores import f_score, sentence_counts


def agreement(docs: Sequence[ScoredDoc]) -> dict[str, float]:
    """The strict micro F1 (0..1) by three definitions: ours, seqeval's and CoNLL's.

    seqeval's default mode counts chunks as the evaluation script of the CoNLL-2000 shared task
    does (Tjong Kim Sang and Buchholz 2000): an I- after O or after another label begins one, too.
    """
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    gold, predicted = tag_sequences(docs)
    strict = f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
    return {
        "gmb_ner": float(f_score(*sentence_counts(docs).sum(axis=0))),
        "seqeval": float(strict),
        "conlleval": float(f1_score(gold, predicted, zero_division=0)),
    }

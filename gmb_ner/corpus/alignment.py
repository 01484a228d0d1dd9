"""Do the corpus' entities begin and end where spaCy's own tokens do?"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from spacy.language import Language

from gmb_ner.corpus.spacing import spaces
from gmb_ner.corpus.table import Sentence
from gmb_ner.corpus.tags import spans


@dataclass(frozen=True)
class Misaligned:
    """An entity that no span of spaCy's tokens covers exactly.

    tokens: spaCy's tokens that overlap it; they hold more text than the entity.
    """

    sentence: str
    row: int
    label: str
    entity: str
    tokens: str

    def as_dict(self) -> dict[str, str | int]:
        return asdict(self)


@dataclass
class Alignment:
    """entities: how many were looked at; misaligned: those that spaCy's tokens cannot express."""

    entities: int = 0
    misaligned: list[Misaligned] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Aligned entities / entities, 1.0 where there are none."""
        return 1 - len(self.misaligned) / self.entities if self.entities else 1.0


def measure_alignment(nlp: Language, sentences: Iterable[Sentence]) -> Alignment:
    """Tokenise each sentence that has entities from its restored text and compare boundaries.

    nlp: only its tokenizer is used.
    sentences: with IOB2 tags.
    """
    alignment = Alignment()
    for sentence in sentences:
        entities = spans(sentence.tags)
        if entities:
            alignment.entities += len(entities)
            alignment.misaligned.extend(_misaligned(nlp, sentence, entities))
    return alignment


def _misaligned(
    nlp: Language, sentence: Sentence, entities: list[tuple[str, int, int]]
) -> Iterator[Misaligned]:
    starts, text = [], ""
    for word, space in zip(sentence.words, spaces(sentence.words), strict=True):
        starts.append(len(text))
        text += word + " " * space
    doc = nlp.tokenizer(text)
    for label, first, end in entities:
        start, stop = starts[first], starts[end - 1] + len(sentence.words[end - 1])
        if doc.char_span(start, stop) is None:
            span = doc.char_span(start, stop, alignment_mode="expand")
            yield Misaligned(
                sentence.id,
                sentence.rows[first],
                label,
                text[start:stop],
                span.text if span is not None else "",
            )

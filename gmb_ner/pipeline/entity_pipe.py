"""What recognizers share that spaCy's loop does not train step by step."""

from collections.abc import Iterable, Iterator

from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from gmb_ner.pipeline.entities import ScoredSpan, set_entities


class EntityPipe(Pipe):
    """A component with a `predict` for batches of Docs; errors go to spaCy's error handler.

    name: of the component in its pipeline.
    """

    name: str

    def predict(self, docs: list[Doc]) -> list[list[ScoredSpan]]:
        """The entities of each Doc, in order, with their confidences; Docs are not changed."""
        raise NotImplementedError

    def set_annotations(self, docs: Iterable[Doc], predicted: list[list[ScoredSpan]]) -> None:
        """Write entities and confidences; entities and blocked tokens that are there stay."""
        for doc, entities in zip(docs, predicted, strict=True):
            set_entities(doc, entities)

    def __call__(self, doc: Doc) -> Doc:
        """Find the entities of one Doc."""
        handler = self.get_error_handler()
        try:
            self.set_annotations([doc], self.predict([doc]))
        except Exception as error:  # as spaCy's own components leave it to the handler
            handler(self.name, self, [doc], error)
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Find the entities of a stream of Docs, `batch_size` at a time."""
        handler = self.get_error_handler()
        for docs in minibatch(stream, batch_size):
            try:
                self.set_annotations(docs, self.predict(docs))
                yield from docs
            except Exception as error:
                handler(self.name, self, docs, error)

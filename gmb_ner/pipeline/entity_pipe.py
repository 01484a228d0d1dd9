"""How recognizers annotate Docs: one, or a stream in batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from spacy.pipeline import Pipe
from spacy.tokens import Doc
from spacy.util import minibatch

from gmb_ner.pipeline.entities import ScoredSpan, set_entities

Predict: TypeAlias = Callable[[], list[list[ScoredSpan]]]
Begun: TypeAlias = tuple[list[Doc], Predict]


class EntityPipe(Pipe):
    """A component with a `begin` for batches of Docs; errors go to spaCy's error handler.

    name: of the component in its pipeline.
    """

    name: str

    @property
    def works_ahead(self) -> bool:
        """Whether there is something that works on what was begun, beside this thread."""
        return False

    def begin(self, docs: list[Doc]) -> Predict:
        """`predict` in two parts: this one begins, and what is returned waits for the end."""
        raise NotImplementedError

    def predict(self, docs: Iterable[Doc]) -> list[list[ScoredSpan]]:
        """The entities of each Doc, in order, with their confidences; Docs are not changed.

        Raises ValueError before there is a model (E109).
        """
        return self.begin(list(docs))()

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
        """Annotate a stream of Docs, in order, `batch_size` of them together.

        Where the component works ahead, the entities of a batch are written when the next one has
        been begun, so that one is worked on while the other is prepared. With a `batch_size` of 1
        it never does: such a stream may wait for each answer before it goes on.
        """
        begun: deque[Begun] = deque()
        ahead = int(self.works_ahead and batch_size > 1)
        batches = minibatch(stream, batch_size)
        while True:
            try:
                docs = next(batches, None)
            except Exception:
                yield from self._finish(begun)
                raise
            if docs is None:
                break
            try:
                begun.append((docs, self.begin(docs)))
            except Exception as error:
                yield from self._finish(begun)
                self.get_error_handler()(self.name, self, docs, error)
            yield from self._finish(begun, ahead)
        yield from self._finish(begun)

    def _finish(self, begun: deque[Begun], left: int = 0) -> Iterator[Doc]:
        """Annotate what was begun, but for so many batches."""
        while len(begun) > left:
            docs, find = begun.popleft()
            try:
                self.set_annotations(docs, find())
                yield from docs
            except Exception as error:
                self.get_error_handler()(self.name, self, docs, error)

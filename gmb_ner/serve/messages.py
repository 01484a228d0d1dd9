"""What is asked of the service and what it answers, and the limits of both."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

EXAMPLE = "President Ada Lin met Kenyan officials in Nairobi on Monday."


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and what may wait.

    text_chars: of each text. run_chars: without a space. texts: in a request. body_bytes: of its
    body. body_seconds: for that to arrive. seconds: from there to the answer. waiting_chars: of all
    requests together. batch_size: texts that are read together.
    """

    text_chars: int = 100_000
    run_chars: int = 1_000
    texts: int = 1_000
    body_bytes: int = 2_000_000
    body_seconds: float = 10.0
    seconds: float = 30.0
    waiting_chars: int = 1_000_000
    batch_size: int = 32


def _storable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is half of a surrogate pair") from None
    return text


Text = Annotated[str, AfterValidator(_storable)]


class Asked(BaseModel):
    """Texts, and which of their entities are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": EXAMPLE}, {"text": [EXAMPLE], "threshold": 0.9}]},
    )

    text: Text | list[Text] = Field(description="A text, or several.")
    threshold: float = Field(0.0, ge=0, le=1, description="Entities with less confidence go.")
    labels: list[Text] | None = Field(None, max_length=100, description="Of the scheme; null: all.")
    scheme: Literal["corpus", "onto", "conll"] = Field(
        "corpus", description="Names of the labels: the corpus', OntoNotes' or CoNLL-2003's."
    )
    html: bool = Field(False, description="Add each text with its entities marked by displaCy.")


class Found(BaseModel):
    """An entity. Offsets count Unicode code points, end exclusive."""

    start: int
    end: int
    label: str
    text: str
    confidence: float | None = Field(description="In [0, 1]; null where the model gives none.")


class Answer(BaseModel):
    """The entities of one text, in order."""

    entities: list[Found]
    html: str | None = None


class Answers(BaseModel):
    """One answer a text, in the order of the texts."""

    model: str
    results: list[Answer]
    unknown_labels: list[str] = Field(
        description="Labels that were asked for and that the scheme does not have."
    )


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str

"""The forms of questions and answers, as the API's description has them."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ...datasets.core import Kind, Modality
from .refusals import Error

Item = TypeVar("Item")
Probability = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]

REFUSED: dict[int, str] = {
    400: "the request cannot be read",
    403: "it comes from a page of another origin",
    404: "no such address, task or stored model",
    405: "no such method here",
    408: "its body came too slowly",
    409: "the model is stored, and cannot answer this here",
    413: "its body is too large",
    415: "its body is neither JSON nor a form",
    421: "its Host is none of this server's",
    422: "a value is of the wrong kind or beyond a limit",
    429: "too many ask, or the answer took too long: ask again",
}


def answers(form: type[BaseModel], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what an address may answer, for the API's description: a form, and refusals (of these statuses)."""
    refused = {status: {"model": Error, "description": REFUSED[status]} for status in statuses or REFUSED}
    return {200: {"model": form, "description": "the answer"}, **refused}


LISTED = (400, 403, 405, 413, 421, 422)
"""How an address that only lists may refuse."""


Word = Annotated[str | None, Field(max_length=200)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Question(_Form):
    """What is asked of a model of texts: one `text`, or many `texts`."""

    task: Name = Field(examples=["openi-reports"])
    model: Name | None = Field(None, description="NAME or NAME@PRESET; without it the best one on validation")
    text: str | None = Field(None, examples=["Heart size is enlarged. Small left pleural effusion."])
    texts: list[str] | None = Field(None, min_length=1)
    confidence: Probability | None = Field(
        None, description="an answer below it is uncertain; by default 0.75 where it is one class, and 0 elsewhere"
    )
    calibrated: bool = Field(False, description="scale probabilities by the model's temperature")
    min_probability: Probability = Field(0.0, description="leave less probable labels out of `probabilities`")
    explain: bool = Field(False, description="of one text: what each word added, for a linear model of words")


class ImageQuestion(_Form):
    """What is asked of a model of images, as a form. What is left out beside the image is unknown to the model."""

    task: Name = Field(examples=["nih-chest-xray14"])
    model: Name | None = None
    image: str = Field(json_schema_extra={"format": "binary"}, description="a PNG, JPEG or WebP file")
    age: float | None = Field(None, description="years, 0 to 120")
    sex: Literal["male", "female"] | None = None
    view: Literal["PA", "AP"] | None = None
    confidence: Probability | None = None
    calibrated: bool = False
    min_probability: Probability = 0.0
    explain: bool = Field(False, description="where the model looked, for a convolutional network (Grad-CAM)")


class Part(_Form):
    """What part of a list is asked for; unknown names are refused: a filter that is misspelt would list everything."""

    offset: int = Field(0, ge=0, le=10**9)
    limit: int = Field(50, ge=1, le=200)

    def wanted(self) -> dict[str, Any]:
        """Return the values that items must have, by field."""
        return self.model_dump(exclude={"offset", "limit", "fields"}, exclude_none=True)


class TaskFilter(Part):
    """Which tasks are listed; without a value any."""

    name: Word = None
    kind: Kind | None = None
    modality: Modality | None = None
    answering: Word = Field(None, description="only tasks that a stored model of this name can answer")


class ModelFilter(Part):
    """Which models are listed; without a value any."""

    name: Word = None
    kinds: Kind | None = None
    modality: Word = None
    framework: Word = None
    answers: Word = Field(None, description="only models of which a stored one can answer this task")


class ResultFilter(Part):
    """Which rows of the board are listed; without a value any."""

    task: Word = None
    model: Word = None
    preset: Word = None
    mode: Word = None
    status: Word = None
    hardware: Word = None
    framework: Word = None
    fields: str = Field("", max_length=2000, description="columns, joined by commas; all without it")


class Ranking(_Form):
    """What is asked of a model of one text, in an address."""

    task: Name
    text: str
    min_probability: Probability = 0.1
    model: Name | None = None


class LabelProbability(_Form):
    """A label and its probability."""

    label: str
    probability: Probability


class Decision(LabelProbability):
    """A label's probability, the threshold that it is held against (none of one class of many), and the outcome."""

    threshold: Probability | None
    chosen: bool


class OneAnswer(_Form):
    """What a model says of one input."""

    answer: Literal["labels", "uncertain"] = Field(description="`uncertain` where confidence is below its threshold")
    labels: list[LabelProbability] = Field(description="those chosen, most probable first; none of an uncertain one")
    confidence: Probability = Field(description="the probability that the model gives to its answer")
    probabilities: list[Decision] = Field(description="all labels, most probable first")


class WordAdded(_Form):
    """A word of the text, from character `start` to `end` (Unicode code points), and what it adds to the log odds."""

    start: int
    end: int
    added: float


class Influence(_Form):
    """What the words of a text add to a label; `rest` is what no word does. Their sum is the label's log odds."""

    label: str
    rest: float
    words: list[WordAdded]


class Heat(_Form):
    """Where a network looked for a label: a PNG to lay over the image, as a data URL."""

    label: str
    overlay: str


class Prediction(_Form):
    """Answers, and what gave them."""

    task: str
    model: str
    preset: str
    mode: str
    record: str = Field(description="the key of the record that answers")
    kind: Kind
    modality: Modality
    policy: str
    confidence_threshold: Probability
    temperature: float | None = Field(description="that probabilities were scaled by, if they were")
    answers: list[OneAnswer]
    influence: list[Influence] | None = Field(description="by label, if asked for and known")
    heat: list[Heat] | None = Field(description="by label, if asked for and known")
    image: str | None = Field(description="the image as the model saw it, as a data URL, where `heat` is asked for")
    remarks: list[str]


class Ranked(_Form):
    """The labels of a text from a probability on, most probable first."""

    task: str
    model: str
    record: str
    min_probability: Probability
    labels: list[LabelProbability]


class TaskItem(_Form):
    """A task: what it asks, and which stored models can answer it."""

    name: str
    title: str
    description: str
    kind: Kind
    modality: Modality
    labels: list[str]
    primary_metric: str
    language: str
    licence: str
    source: str
    protocols: list[str]
    records: bool = Field(description="whether the board has rows of it")
    answering: list[str] = Field(description="models that POST /api/predict takes for it")


class ModelItem(_Form):
    """A model: what it is, its settings, and the tasks that a stored one of it can answer."""

    name: str
    title: str
    description: str
    modality: str
    framework: str
    kinds: list[Kind]
    presets: list[str]
    default: dict[str, str | int | float | bool]
    citation: str
    answers: list[str]


class Page(BaseModel, Generic[Item]):
    """A part of a list: `items` from `offset` on, of `total`."""

    total: int
    offset: int
    limit: int
    items: list[Item]


class TaskPage(Page[TaskItem]):
    """Some of the tasks."""


class ModelPage(Page[ModelItem]):
    """Some of the models."""


class ResultPage(Page[dict[str, Any]]):
    """Some of the board's rows: an item has the board's columns, null for what is missing."""


class InMemory(_Form):
    """A model in memory, and how many inputs it answered in how many batches."""

    task: str
    model: str
    record: str
    answered: int
    batches: int


class Health(_Form):
    """That the server answers, what it is, and what it takes."""

    status: Literal["ok"]
    version: str = Field(description="of zoobench")
    api_version: str
    uptime_s: float
    rows: int = Field(description="of the board")
    loaded: list[InMemory]
    limits: dict[str, float]

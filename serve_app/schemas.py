"""What client and service agree on: request fields, limits, header names, the error body."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

HEADER_REQUEST_ID = "X-Request-Id"
HEADER_SEED = "X-Seed"
HEADER_MODEL = "X-Model"
HEADER_REPLICA = "X-Replica"
HEADER_BATCH_SIZE = "X-Batch-Size"
HEADER_RECEIPT = "X-Receipt"
HEADER_TIMEOUT = "X-Request-Timeout"
HEADER_TIMINGS = "Server-Timing"

MAX_PROMPT_CHARACTERS = 2000
MIN_SIDE, MAX_SIDE, SIDE_MULTIPLE = 64, 2048, 8
MAX_STEPS = 150
MAX_GUIDANCE = 30.0
MAX_SEED = 2**32 - 1
DEFAULT_TIMEOUT_S = 120.0

Format = Literal["png", "jpeg", "webp"]


class SharedFields(BaseModel):
    """What every dialect calls by the same name: a field added here appears in each of them."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARACTERS)
    negative_prompt: str | None = Field(default=None, max_length=MAX_PROMPT_CHARACTERS)
    num_inference_steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    guidance_scale: float | None = Field(default=None, ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="drawn when absent, always reported")
    model: str | None = Field(default=None, min_length=1, max_length=300, description="the one that runs, or a 404")

    def shared(self) -> dict[str, Any]:
        """These fields by name."""
        return {name: getattr(self, name) for name in SharedFields.model_fields}


class ImageRequest(SharedFields):
    """One image to make, the request behind all dialects; None means the model's default. Sizes in pixels."""

    width: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    height: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    img_size: int | None = Field(
        default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE, description="width and height in one"
    )
    format: Format | None = Field(default=None, description="png unless the Accept header names another")


class ErrorDetail(BaseModel):
    """The documented error, in OpenAI's shape."""

    message: str
    type: str
    param: str | None = None
    code: str


class ErrorBody(BaseModel):
    """The body of every error that the application emits."""

    error: ErrorDetail


class PromptWarning(BaseModel):
    """Something about the request that the user should know, without the prompt's text."""

    code: str  # unknown_words, truncated
    message: str
    spans: list[tuple[int, int]] = []  # character offsets into the prompt


class Receipt(BaseModel):
    """All that made an image except the prompt's text: the content of X-Receipt (base64url JSON)."""

    seed: int
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    scheduler: str
    model: str
    revision: str | None
    app_version: str
    replica: str
    batch_size: int
    timings_ms: dict[str, float]
    request_id: str
    time: str  # ISO 8601, UTC
    warnings: list[PromptWarning] = []
    extra: dict[str, Any] = {}

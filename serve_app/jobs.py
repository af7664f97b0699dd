"""The values that pass between ingress and generator: what to draw, what was drawn, what the model can do."""

from dataclasses import dataclass, field

from serve_app.schemas import Format, Receipt

MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True)
class ModelProfile:
    """What the loaded model can do, and its defaults; sizes in pixels."""

    name: str
    revision: str | None
    family: str  # the pipeline's class
    scheduler: str
    default_width: int
    default_height: int
    default_steps: int
    default_guidance: float
    multiple: int = 8  # width and height must be multiples of it
    sizes: tuple[tuple[int, int], ...] = ()  # the only ones it makes; empty: any
    max_pixels: int = 2048 * 2048
    takes_negative: bool = True
    negative_splits: bool = False  # a batch is all with or all without negative prompts
    guidance_varies: bool = False  # images of one batch may have different guidance
    batches: bool = True  # a batch gives the pictures that its images give alone


@dataclass(frozen=True)
class ImageJob:
    """One image, every parameter decided."""

    prompt: str = field(repr=False)
    negative_prompt: str | None = field(repr=False)
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    format: Format = "png"
    request_id: str = ""
    tenant: str = ""


@dataclass(frozen=True)
class Picture:
    """An encoded image and what made it."""

    data: bytes = field(repr=False)
    format: Format
    receipt: Receipt

    @property
    def media_type(self) -> str:
        """The value of Content-Type."""
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True)
class Description:
    """What a generator replica says of itself once it has made an image; phases in seconds."""

    replica: str
    profile: ModelProfile
    phases: dict[str, float]
    device: str
    max_batch: int

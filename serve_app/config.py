"""The typed arguments of the application, as manifests give them."""

from importlib.metadata import PackageNotFoundError, version
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve_app.schemas import (
    DEFAULT_TIMEOUT_S,
    MAX_GUIDANCE,
    MAX_SIDE,
    MAX_STEPS,
    MIN_SIDE,
    SIDE_MULTIPLE,
)

BUILTIN = "builtin:shapes"


def _installed_version() -> str:
    try:
        return version("sdctl")
    except PackageNotFoundError:
        return "unknown"


class ServiceConfig(BaseModel):
    """`args` of the application; None means: as the model says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(default=BUILTIN, min_length=1, description="builtin:shapes, a folder, or a model hub's id")
    revision: str | None = None
    variant: str | None = Field(default=None, description="the file variant of the weights, such as fp16")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    default_steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    default_guidance: float | None = Field(default=None, ge=0, le=MAX_GUIDANCE)
    default_width: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    default_height: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_MULTIPLE)
    max_pixels: int = Field(default=MAX_SIDE * MAX_SIDE, ge=MIN_SIDE * MIN_SIDE)
    max_cost: int = Field(
        default=MAX_SIDE * MAX_SIDE * MAX_STEPS, ge=1, description="pixels × steps × images of one request"
    )
    max_batch: int = Field(default=8, ge=1, le=64, description="images in one pipeline call at the default size")
    check_batching: bool = Field(default=True, description="compare a batch with single images before serving")
    profile_memory: bool = Field(default=True, description="measure how many images fit; only ever lowers max_batch")
    memory_limit_mb: int | None = Field(default=None, ge=1, description="of what this replica may hold, model included")
    embedding_cache_mb: int = Field(default=64, ge=0, le=65536, description="encoded prompts on the device; 0: none")
    channels_last: bool = False
    attention: Literal["sdpa", "math"] = Field(default="sdpa", description="torch's fused attention, or plain matmuls")
    fuse_qkv: bool = False
    compile: Literal["off", "regional"] = Field(default="off", description="torch.compile of the repeated blocks")
    compile_sizes: tuple[tuple[int, int], ...] = Field(
        default=(), description="width and height of what is compiled before ready; empty: the default size"
    )
    threads: int = Field(default=1, ge=1, le=256)
    safety_checker: bool = Field(default=True, description="keep the checker that the model brings, if it has one")
    refused_words: tuple[str, ...] = Field(default=(), description="prompts with one of these are refused")
    hub_token_file: str = ""
    local_files_only: bool = False
    auth: Literal["keys", "open"] = "keys"
    key_folder: str = Field(default="", description="a file per tenant, a key per line")
    body_timeout_s: float = Field(default=10.0, gt=0, le=3600, description="longest wait for a request's body")
    max_timeout_s: float = Field(default=DEFAULT_TIMEOUT_S, gt=0, le=3600)
    max_in_flight: int = Field(default=400, ge=1, description="requests that one ingress replica holds")
    max_in_flight_per_tenant: int | None = Field(default=None, ge=1)
    images_per_minute: int | None = Field(default=None, ge=1, description="per tenant and ingress replica")
    max_dispatched: int = Field(default=96, ge=1, description="of those, how many Serve may hold; shows demand")
    stall_timeout_s: float = Field(default=60.0, gt=0, description="a step longer than this is a hang")
    log_prompts: bool = False
    cors_origins: tuple[str, ...] = Field(default=(), description="web pages that may call; none unless named here")
    app_version: str = Field(default_factory=_installed_version)

    @model_validator(mode="after")
    def _keys_have_a_folder(self) -> Self:
        if self.auth == "keys" and not self.key_folder:
            raise ValueError(
                "auth is `keys`, but key_folder is empty: name the folder with the key files, "
                "or set `auth: open` where only this machine can reach the service"
            )
        return self

    @property
    def tenant_limit(self) -> int:
        """Requests that one tenant may have in flight."""
        return self.max_in_flight_per_tenant or self.max_in_flight

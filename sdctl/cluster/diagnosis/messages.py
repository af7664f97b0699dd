"""What well-known failures look like in the words of Ray, diffusers, the Hub and CUDA."""

import re
from dataclasses import dataclass

from sdctl.cluster.diagnosis.cause import Cause

ANSI = re.compile(r"\x1b\[[0-9;]*m")
EXCEPTION = re.compile(r"^\s*(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Failure|Interrupt|Exit)\b.*$")


@dataclass(frozen=True)
class Pattern:
    """A failure that `text` recognises; waiting longer mends it only where not `fatal`."""

    code: str
    text: str
    reason: str
    hint: str
    fatal: bool = True


PATTERNS = (
    Pattern(
        "ray_version_mismatch",
        r"Version mismatch: The cluster was started with",
        "Head and workers run different versions of Ray or Python",
        "Use one image for the head and every worker group, and its version as rayVersion.",
    ),
    Pattern(
        "gpu_out_of_memory",
        r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError",
        "The model does not fit into the memory of the GPU",
        "Use GPUs with more memory, a smaller model, smaller images or a smaller batch.",
    ),
    Pattern(
        "cuda_mismatch",
        r"driver on your system is too old|CUDA driver version is insufficient|no kernel image is available|"
        r"Found no NVIDIA driver|forward compatibility was attempted|libcuda\.so|not compiled with CUDA|"
        r"CUDA (?:error: )?(?:initialization|unknown error|no CUDA-capable device)",
        "PyTorch's CUDA and the node's GPU driver do not go together",
        "Use nodes with a newer driver (AMI), or an image whose CUDA is not newer than the driver.",
    ),
    Pattern(
        "model_gated",
        r"GatedRepoError|gated repo|Access to model .{1,200} is restricted|"
        r"(?:401|403) Client Error[^\n]{0,200}huggingface",
        "The model hub refuses the download: the model is gated or private",
        "Accept the model's licence on its page, then make the Secret: ",
    ),
    Pattern(
        "model_missing",
        r"RepositoryNotFoundError|RevisionNotFoundError|is not a valid model identifier|"
        r"404 Client Error[^\n]*huggingface",
        "The model does not exist on the hub (or is private)",
        "Check the model's name and revision: sdctl deploy --model <id>.",
    ),
    Pattern(
        "model_unreachable",
        r"couldn't connect to 'https://huggingface|LocalEntryNotFoundError|OfflineModeIsEnabled|"
        r"huggingface\.co[^\n]{0,200}(?:Max retries|Name or service|resolution|timed out|unreachable)|"
        r"(?:Max retries|NameResolutionError|ConnectTimeout)[^\n]{0,200}huggingface\.co",
        "The pods cannot reach the model hub",
        "Let the pods reach huggingface.co (NetworkPolicy, NAT, proxy), or put the weights into the image.",
        fatal=False,
    ),
    Pattern(
        "runtime_env_failed",
        r"RuntimeEnvSetupError|Failed to set up runtime environment|runtime_env setup (?:failed|timed out)|"
        r"Failed to install pip packages|Failed to create runtime env",
        "The runtime_env could not be set up",
        "Check the pinned packages and that pods reach the package index, or deploy an image: sdctl deploy --image.",
    ),
    Pattern(
        "ray_out_of_memory",
        r"low on memory|due to memory pressure|OutOfMemoryError: Task",
        "Ray's memory monitor killed the replica: its node ran out of memory",
        "Raise memory in requests and limits of the worker group.",
    ),
    Pattern(
        "disk_full",
        r"No space left on device",
        "A node's disk is full",
        "Give the nodes a bigger disk: images, runtime_env and weights need tens of GB.",
    ),
)


def explain(text: str) -> Cause | None:
    """The first well-known failure in a log or message, with the line that shows it."""
    clean = ANSI.sub("", text)
    for pattern in PATTERNS:
        found = re.search(pattern.text, clean, re.IGNORECASE)
        if found:
            line = _line_around(clean, found.start())
            return Cause(pattern.code, f"{pattern.reason}: {line}", pattern.hint, pattern.fatal)
    return None


def last_exception(text: str) -> str:
    """The line of a traceback that names the exception; the last line where there is none."""
    lines = [line.strip() for line in ANSI.sub("", text).splitlines() if line.strip()]
    named = [line for line in lines if EXCEPTION.match(line)]
    return shorten((named or lines or [""])[-1])


def shorten(text: str, limit: int = 300) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _line_around(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    return shorten(text[start : end if end >= 0 else len(text)])

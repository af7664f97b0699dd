"""The limit: a bare diffusers pipeline without any server, a process of its own that takes orders as JSON lines.

Its pictures, drawn one by one, are the references for everything that the services answer.
"""

import io
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

PNG_LEVEL = 1  # as the service does


class BarePipeline:
    """A model folder's pipeline, called as its documentation says."""

    def __init__(self, folder: str, device: str, dtype: str, guidance: float) -> None:
        import torch
        from diffusers import DiffusionPipeline

        torch.set_num_threads(1)
        self._torch = torch
        self._guidance = guidance
        self.pipe = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
        self.pipe.set_progress_bar_config(disable=True)

    def draw(self, wishes: Sequence[Mapping[str, Any]]) -> list[npt.NDArray[np.uint8]]:
        """The pixels of these wishes, which share size and steps."""
        first = wishes[0]
        images = self.pipe(
            [wish["prompt"] for wish in wishes],
            width=first["width"],
            height=first["height"],
            num_inference_steps=first["num_inference_steps"],
            guidance_scale=self._guidance,
            generator=[self._torch.Generator("cpu").manual_seed(wish["seed"]) for wish in wishes],
            output_type="np",
        ).images
        return [(image * 255).round().astype(np.uint8) for image in images]

    def pictures(self, wishes: Mapping[str, Mapping[str, Any]], file: str) -> dict[str, Any]:
        """Keep the picture of each wish, drawn alone, under its name."""
        np.savez(file, **{name: self.draw([wish])[0] for name, wish in wishes.items()})  # type: ignore[arg-type]
        return {"pictures": len(wishes)}

    def throughput(
        self, wishes: Sequence[Mapping[str, Any]], batch: int, seconds: float, images: int
    ) -> dict[str, Any]:
        """Draw and encode batches for so long, and so many images: seconds per call, and processor time."""
        taken: list[float] = []
        endless = itertools.cycle(wishes)
        self.draw(list(itertools.islice(endless, batch)))
        before = time.process_time()
        while sum(taken) < seconds or len(taken) * batch < images:
            start = time.monotonic()
            for pixels in self.draw(list(itertools.islice(endless, batch))):
                Image.fromarray(pixels).save(io.BytesIO(), format="PNG", compress_level=PNG_LEVEL)
            taken.append(time.monotonic() - start)
        return {"seconds": taken, "processor_s": time.process_time() - before}

    def work(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """TFLOP of one image: a whole call of one step, and what each further step adds."""
        one, two = (self._counted({**wish, "num_inference_steps": steps}) for steps in (1, 2))
        return {"tflop": (one + (wish["num_inference_steps"] - 1) * (two - one)) / 1e12}

    def _counted(self, wish: Mapping[str, Any]) -> int:
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.draw([wish])
        return int(counter.get_total_flops())

    def peak(self) -> dict[str, Any]:
        """TFLOP/s of a large matrix product in the model's own type: the best of several."""
        torch, device = self._torch, self.pipe.device
        side = 8192 if device.type == "cuda" else 512
        one = torch.randn(side, side, device=device, dtype=self.pipe.dtype)
        best = float("inf")
        for _ in range(10):
            start = time.monotonic()
            for _ in range(5):
                torch.mm(one, one)
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, (time.monotonic() - start) / 5)
        return {"tflops": 2 * side**3 / best / 1e12}


class Limit:
    """Orders to the process of a bare pipeline."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def order(self, **words: Any) -> dict[str, Any]:
        """Give an order and wait for what comes of it; raises RuntimeError when that fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the bare pipeline's process has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


@contextmanager
def started(folder: str, *, device: str = "cpu", dtype: str = "float32", guidance: float = 1.0) -> Iterator[Limit]:
    """The process of a bare pipeline, for the block."""
    command = [sys.executable, "-m", "loadtests.benchmarks.serving_limit", folder, device, dtype, str(guidance)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            yield Limit(process)
        finally:
            process.kill()


def main() -> None:
    """Obey orders until stdin ends."""
    orders = os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print; only answers belong there
    folder, device, dtype, guidance = sys.argv[1:5]
    bare = BarePipeline(str(Path(folder)), device, dtype, float(guidance))
    for line in orders:
        words = json.loads(line)
        try:
            answer = getattr(bare, words.pop("do"))(**words)
        except RuntimeError as error:  # out of memory
            answer = {"error": str(error).splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""Writes references.json: `python -m loadtests.references` draws each prompt with the bare pipeline, no service.

Run it again whenever the built-in model's weights change. Under load, a picture of the service is compared with these.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from loadtests.images import fingerprint
from loadtests.job import HERE, Prompt, builtin_prompts
from serve_app.models.prompts import SHAPES_FOLDER

MODEL = "builtin:shapes"
FILE = HERE / "references.json"


def draw(prompts: Iterable[Prompt]) -> Iterator[Image.Image]:
    """The picture of each prompt and seed at the model's default size, steps and guidance."""
    card = json.loads((SHAPES_FOLDER / "service.json").read_text(encoding="utf-8"))
    pipeline = StableDiffusionPipeline.from_pretrained(
        SHAPES_FOLDER, safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    width, height = card["default_size"]
    for prompt in prompts:
        image: Image.Image = pipeline(
            prompt.text,
            width=width,
            height=height,
            num_inference_steps=card["default_steps"],
            guidance_scale=card["default_guidance"],
            generator=torch.Generator("cpu").manual_seed(prompt.fields["seed"]),
        ).images[0]
        yield image


def document(prompts: Iterable[Prompt]) -> str:
    """The JSON text of references.json for these prompts."""
    known = list(prompts)
    pictures = [
        {"id": prompt.id, "prompt": prompt.text, "seed": prompt.fields["seed"], "fingerprint": fingerprint(image)}
        for prompt, image in zip(known, draw(known), strict=True)
    ]
    return json.dumps({"model": MODEL, "pictures": pictures}, indent=0) + "\n"


def main(path: Path = FILE) -> None:
    """Draw all built-in prompts and write the file."""
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other
    path.write_text(document(builtin_prompts()), encoding="utf-8")
    print(f"{path} written")


if __name__ == "__main__":
    main()

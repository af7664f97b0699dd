"""`sdctl imagine`: make images from prompts."""

from typing import Annotated

import typer

from sdctl import options
from sdctl.output import Output
from sdctl.targets.base import Selection

PROMPTS = typer.Argument(metavar="PROMPT", help="One image each; - reads one prompt a line from stdin.")
PREVIEWS = "auto|kitty|iterm2|sixel|blocks|none"


@options.on_target("token_file", "ca_file", short_namespace=False)
def command(
    where: Selection,
    prompts: Annotated[list[str] | None, PROMPTS] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File (.png, .jpg, .webp) or folder; - is stdout.", show_default=False)
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", help="Images a prompt, with consecutive seeds.")] = 1,
    size: Annotated[str, typer.Option("--size", metavar="512|768x512", help="Pixels: a side, or width x height.")] = "",
    steps: Annotated[int | None, typer.Option("--steps", help="Inference steps.")] = None,
    guidance: Annotated[float | None, typer.Option("--guidance", help="How closely to follow the prompt.")] = None,
    negative: Annotated[str | None, typer.Option("--negative", help="What the image should not show.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The same seed makes the same image.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Refuse any other model than this.")] = None,
    image_format: Annotated[
        str, typer.Option("--format", metavar="png|jpeg|webp", help="By default the suffix's.")
    ] = "",
    replay: Annotated[
        str, typer.Option("--from", metavar="IMAGE.png", help="Make this image again, by the receipt in it.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="No receipt in the PNG, no prompt in its name.")
    ] = False,
    show: Annotated[
        str, typer.Option("--preview", metavar=PREVIEWS, help="How to show it in the terminal (or SDCTL_PREVIEW).")
    ] = "auto",
    timeout: Annotated[str, typer.Option("--timeout", help="For each image, tries included.")] = "120s",
    dialect: Annotated[
        str, typer.Option("--dialect", metavar="auto|sdctl|openai", help="The API that a URL speaks; auto asks it.")
    ] = "auto",
    as_json: options.JsonOption = False,
) -> int:
    """Make images from prompts: save them, preview them, pipe them.

    Without -o, a terminal gets a file in this folder, and a pipe the image's bytes.
    """
    from sdctl.imagine.images import Terms, make_images
    from sdctl.imagine.plan import Options
    from sdctl.targets.select import select

    pixels = options.size(size) if size else None
    # fmt: off
    asked = Options(
        tuple(prompts or ()), count, output, pixels, steps, guidance, negative, seed, model, image_format, replay,
        force=force, metadata=not no_metadata, as_json=as_json,
    )
    # fmt: on
    terms = Terms(options.duration(timeout, "--timeout"), dialect, show)
    return make_images(asked, terms, select(where), Output(as_json=as_json))

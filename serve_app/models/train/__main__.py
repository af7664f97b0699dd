"""Trains the built-in model from nothing: `python -m serve_app.models.train --out DIR [--resume]`."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from serve_app.models.train.assemble import assemble, save
from serve_app.models.train.autoencoder import drawings, normalise_latents, train_autoencoder
from serve_app.models.train.dataset import load_dataset
from serve_app.models.train.decoder import train_decoder
from serve_app.models.train.denoiser import train_denoiser
from serve_app.models.train.plan import Plan


def train(work: Path, plan: Plan) -> tuple[StableDiffusionPipeline, dict[str, float]]:
    """Run what is not done yet of every stage in `work`; gives the pipeline and the minutes that each stage took."""
    autoencoder, first = train_autoencoder(work, plan)
    normalise_latents(autoencoder, drawings(min(plan.drawings, 512))[0])
    dataset, encoding = load_dataset(work, plan, autoencoder)
    denoiser, second = train_denoiser(work, plan, dataset)
    third = train_decoder(work, plan, autoencoder)
    seconds = {stage.name: stage.seconds for stage in (first, second, third)} | {"latents": encoding}
    return assemble(autoencoder, denoiser), {stage: round(spent / 60, 1) for stage, spent in seconds.items()}


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments, train, and write the model's folder; 2 if DIR holds a run and --resume was not given."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.models.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; checkpoints go to its work/")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in DIR")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    parser.add_argument("--steps", type=int, help="the denoiser's steps (default: those of the shipped weights)")
    options = parser.parse_args(argv)
    work = options.out / "work"
    if work.exists() and not options.resume:
        print(f"{work} holds an earlier run: go on with it by --resume, or choose another folder.", file=sys.stderr)
        return 2
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    plan = Plan() if options.steps is None else replace(Plan(), denoiser_steps=options.steps)
    pipeline, minutes = train(work, plan)
    save(pipeline, options.out / "shapes")
    (options.out / "minutes.json").write_text(json.dumps(minutes) + "\n")
    print(f"Wrote {options.out / 'shapes'}; minutes: {minutes}. NumPy {np.__version__}, torch {torch.__version__}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

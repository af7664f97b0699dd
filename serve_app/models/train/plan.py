"""How much is trained on what: the one place with the training's numbers."""

from dataclasses import dataclass

SEED = 0
LATENT_CHANNELS = 8
LATENT_SCALE = 8  # pixels a latent cell is wide
DEFAULT_SIZE = (128, 128)
OTHER_SIZES = ((192, 192), (192, 128), (128, 192))  # width × height


@dataclass(frozen=True)
class Plan:
    """Steps and amounts of a run; the defaults are those of the shipped weights."""

    drawings: int = 6000  # drawn once, for the autoencoder
    autoencoder_steps: int = 2200
    autoencoder_rate: float = 1.2e-3
    crop: int = 64
    crops: int = 16
    whole_pictures: int = 4  # the last fifth of the steps sees whole pictures, this many a step
    scenes: int = 12000  # cached latents at the default size; a twelfth as many at each other size
    denoiser_steps: int = 10000
    denoiser_rate: float = 1.2e-3
    batch: int = 32
    decoder_steps: int = 1000
    decoder_rate: float = 8e-4
    checkpoint_every: int = 500
    log_every: int = 100


TINY = Plan(
    drawings=8,
    autoencoder_steps=4,
    crops=2,
    whole_pictures=1,
    scenes=12,
    denoiser_steps=4,
    batch=2,
    decoder_steps=4,
    checkpoint_every=2,
    log_every=2,
)

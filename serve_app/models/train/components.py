"""The parts of the pipeline beside the autoencoder: tokenizer, text encoder, UNet, scheduler."""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from serve_app.models.shapes_language import KNOWN_WORDS, MAX_WORDS
from serve_app.models.train.plan import DEFAULT_SIZE, LATENT_CHANNELS, LATENT_SCALE

PAD, BEGIN, UNKNOWN, END = "<pad>", "<bos>", "<unk>", "<eos>"  # END's id must not be 2: CLIPTextModel treats that apart
MAX_TOKENS = MAX_WORDS + 2
TEXT_WIDTH = 96


def new_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word of the language, lower-cased; every other word is `<unk>`."""
    vocabulary = {word: i for i, word in enumerate((PAD, BEGIN, UNKNOWN, END, *KNOWN_WORDS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(BEGIN, vocabulary[BEGIN]), (END, vocabulary[END])]
    core.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=MAX_TOKENS,
        pad_token=PAD,
        bos_token=BEGIN,
        unk_token=UNKNOWN,
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )


def new_text_encoder(tokenizer: PreTrainedTokenizerFast) -> CLIPTextModel:
    """An untrained text encoder for this tokenizer."""
    torch.manual_seed(1)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=3 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=6,
            max_position_embeddings=MAX_TOKENS,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet; it attends to the words at a half and a quarter of the latents' resolution,
    which costs a CPU a third of attending everywhere."""
    torch.manual_seed(2)
    return UNet2DConditionModel(
        sample_size=DEFAULT_SIZE[0] // LATENT_SCALE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 64, 80),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def new_scheduler() -> DDIMScheduler:
    """Sampling starts at pure noise, so that colours come from the prompt and not from the noise's mean."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # unused by trailing spacing; another value makes the pipeline warn
    )

# The image for production: Ray, torch, diffusers, this package and the built-in model. No start-up installs anything.
#
#   docker build -t sdctl:0.1.0 .                                      for GPUs (CUDA)
#   docker build -t sdctl:0.1.0 --build-arg RAY_FLAVOUR=cpu --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#   docker build -t sdctl:0.1.0 --build-arg MODEL=stabilityai/stable-diffusion-xl-base-1.0 .   with weights inside
ARG RAY_VERSION=2.60.0
ARG RAY_FLAVOUR=gpu
FROM rayproject/ray:${RAY_VERSION}-py311-${RAY_FLAVOUR}

# Dependencies first: they change seldom, so a change of code makes a small layer.
ARG TORCH_INDEX=
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} \
    torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 accelerate==1.15.0 safetensors==0.8.0 pillow==13.0.0

COPY --chown=ray:users . /home/ray/sdctl
RUN pip install --no-cache-dir --no-deps /home/ray/sdctl && rm -rf /home/ray/sdctl

# Optional: weights in the image, so that a new node loads them with the image instead of from the hub.
ARG MODEL=
ARG REVISION=main
RUN if [ -n "${MODEL}" ]; then \
    python -c "from huggingface_hub import snapshot_download as load; load('${MODEL}', revision='${REVISION}')"; fi

USER 1000

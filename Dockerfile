# The command line with PyTorch, without napari's window.
#   docker build --tag semiseg .                              for processors
#   docker build --tag semiseg --build-arg TORCH=cu130 .      for NVIDIA GPUs
#   docker run --rm --gpus all -v /data:/data semiseg train /data/atrium --minutes 20
FROM python:3.13-slim

ARG TORCH=cpu
WORKDIR /build
COPY . .
RUN pip install --no-cache-dir -c constraints.txt torch \
      --index-url "https://download.pytorch.org/whl/${TORCH}" \
 && pip install --no-cache-dir -c constraints.txt ".[engine,dicom-seg,cluster]" \
 && rm -rf /build/*

# Files that it writes belong to whoever runs it: docker run --user "$(id -u):$(id -g)"
RUN useradd --create-home --uid 1000 semiseg
USER 1000
WORKDIR /data
ENTRYPOINT ["semiseg"]
CMD ["--help"]

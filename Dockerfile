# docker build -t mixae .   (docs/install.md shows how to run it, with and without GPUs)
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ make libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/mixae
COPY . .
RUN make setup && .venv/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends g++ libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/mixae/.venv /opt/mixae/.venv
ENV PATH=/opt/mixae/.venv/bin:$PATH VIRTUAL_ENV=/opt/mixae/.venv
WORKDIR /workspace
ENTRYPOINT ["mixae"]
CMD ["--help"]

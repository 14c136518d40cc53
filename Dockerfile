# One image for all roles: stalk capture, stalk sink, stalk topics, and faust -A processors worker.

FROM python:3.12-slim-bookworm AS builder
WORKDIR /src
RUN python -m venv /opt/datastalker
COPY pyproject.toml README.md LICENSE ./
COPY datastalker datastalker
COPY capture_agent capture_agent
COPY processors processors
COPY sinks sinks
COPY schemas schemas
COPY infra/kibana infra/kibana
# Wheels only, of everything else too: there is no compiler here, and none is needed.
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && /opt/datastalker/bin/pip install --no-cache-dir --only-binary=:all: \
      "$(ls /wheels/datastalker-*.whl)[agent,workers,elasticsearch,registry,export,ui]"

FROM python:3.12-slim-bookworm
# What a named volume is mounted on first gives it its owner.
RUN useradd --create-home --uid 10001 stalk \
 && install -d -o stalk -g stalk /captures /out
COPY --from=builder /opt/datastalker /opt/datastalker
ENV PATH=/opt/datastalker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATASTALKER_CONFIG=/etc/datastalker/config.yaml
USER stalk
WORKDIR /home/stalk
ENTRYPOINT ["stalk"]
CMD ["--help"]

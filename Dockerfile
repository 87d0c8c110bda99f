# The image of the service: a wheel and its locked dependencies in a virtual environment, nothing that builds.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.lock ./
# Without pip: an image installs nothing any more.
RUN python -m venv --without-pip /opt/vello-meetings \
 && python -m pip --python /opt/vello-meetings/bin/python install --require-hashes --only-binary :all: -r requirements.lock
# Of Babel's data, which is 30 MB, the languages that our pages speak.
RUN find /opt/vello-meetings -path '*/babel/locale-data/*.dat' ! -name root.dat ! -name 'en*' ! -name 'fi*' ! -name 'sv*' \
    ! -name 'nb*' ! -name 'no*' ! -name 'da*' ! -name 'et*' ! -name 'de*' -delete
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY providers providers
RUN python -m pip wheel --no-deps --wheel-dir dist . \
 && python -m pip --python /opt/vello-meetings/bin/python install --no-deps --no-index dist/*.whl \
 && mkdir /data

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="vello-meetings" \
      org.opencontainers.image.description="Video links for Vello bookings" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/vello-meetings /opt/vello-meetings
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/vello-meetings/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data
USER 10001:10001
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=4)"]
ENTRYPOINT ["vello-meetings"]
CMD ["serve", "--host", "0.0.0.0"]

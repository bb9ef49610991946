# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src
# Such as "aws" or "gcp": model artifacts in object storage.
ARG FEATURES=""
# The .proto files are compiled in Rust: no protoc is needed.
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY migrations migrations
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --features "$FEATURES" && cp target/release/pref /usr/local/bin/pref

FROM debian:bookworm-slim
# Certificates are for the model hub, object storage and Postgres over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin pref \
    && install -d -o pref -g pref /data
COPY --from=build /usr/local/bin/pref /usr/local/bin/pref

ENV PREF_DATA_DIR=/data PREF_HUB_CACHE=/data/hub PREF_LOG_FORMAT=json
USER 10001
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["pref", "health"]
# To be reached from outside the container: PREF_LISTEN=0.0.0.0:50051 with PREF_REQUIRE_AUTH=true (deploy/README.md).
ENTRYPOINT ["pref"]
CMD ["serve"]

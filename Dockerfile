# docker build -t antiphon:0.1.0 .
# docker run --read-only -v antiphon:/var/lib/antiphon -e JWT_SECRET=… -p 127.0.0.1:8080:8080 antiphon:0.1.0
FROM rust:1.95-slim-bookworm AS build
# npm embeds GraphiQL in the program; git is not needed.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev make npm && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN cargo build --locked --profile dist --bin antiphon

FROM debian:bookworm-slim
# Certificate authorities for NATS over TLS; git for git clients, `import` and `export`.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin antiphon \
    && install -d -o antiphon -g antiphon -m 0700 /var/lib/antiphon
COPY --from=build /source/target/dist/antiphon /usr/local/bin/antiphon
USER 10001
WORKDIR /var/lib/antiphon
VOLUME /var/lib/antiphon
ENV LISTEN=:8080 METRICS_LISTEN=:9090 DATABASE_URL=sqlite:///var/lib/antiphon/antiphon.db \
    GIT_CACHE=/var/lib/antiphon/git
EXPOSE 8080 9090
# The image has no curl; bash sends the request.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q ' 200 '"]
# DRAIN_SECONDS, STOP_SECONDS and two for the database: `docker stop` waits 10.
ENTRYPOINT ["antiphon"]
CMD ["serve"]

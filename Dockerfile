# The image of llm-cache-server: the server, the libraries it is linked with and the certificates of the
# public authorities. No shell, no package manager, not root.
#
#   docker build -t llm-cache-server .
#
# For amd64 and arm64, each built on a machine of its own kind: emulated, RocksDB's C++ would take hours.
# The base images are named here and nowhere else, with their digests, where Dependabot finds them. To build
# on others, `--build-context NAME=docker-image://OTHER` puts them in their place (scripts/image.sh does).

# What is in an image (its SBOM) shall name the crates too: they are read from Cargo.lock.
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true

# Everything the server depends on, RocksDB before all, compiled around an empty program: this layer is
# built again when Cargo.toml or Cargo.lock change, and not when only the sources do.
FROM docker.io/library/rust:bookworm@sha256:b5efaabfd787a695d2e46b37d3d9c54040e11f4c10bc2e714bbadbfcc0cd6c39 AS dependencies
# clang and libclang: RocksDB and its bindings; cmake: zlib-ng; make: jemalloc.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends clang cmake libclang-dev make \
    && rm -rf /var/lib/apt/lists/*
# Kernels on arm64 have pages of 4, 16 or 64 KiB, and jemalloc must know the largest when it is compiled.
RUN if [ "$(uname -m)" = aarch64 ]; then \
        printf '[env]\nJEMALLOC_SYS_WITH_LG_PAGE = "16"\n' >>"$CARGO_HOME/config.toml"; \
    fi
WORKDIR /build
# Nothing is compiled twice here, so there is no use for what helps to do so quickly. Optimised across crates
# a hit costs some 4 % less (docs/performance.md); it takes minutes, so only images have it.
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
    CARGO_PROFILE_RELEASE_LTO=fat
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches tests/it \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs benches/key.rs tests/it/main.rs \
    && cargo build --release --locked --bin llm-cache-server \
    # Else cargo could take the empty program for the real one: it compares times, and files from a
    # checkout are often older.
    && cargo clean --release --package llm-cache-server \
    && rm -r src

FROM dependencies AS build
# The defaults are compiled in.
COPY conf/llm-cache-server.yaml conf/
COPY src src
RUN cargo build --release --frozen --bin llm-cache-server \
    && strip -o /llm-cache-server target/release/llm-cache-server

# The file system of the image, but for the server.
FROM docker.io/library/debian:bookworm-slim@sha256:e899040a73d36e2b36fa33216943539d9957cba8172b858097c2cabcdb20a3e2 AS files
# Named although they are there, so that their security updates are installed.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libc6 libgcc-s1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
# Of these packages what the server needs, and what scanners and lawyers ask for: which they are, under what
# licence. The links from /lib to /usr/lib come first, as the libraries are copied through them.
RUN mkdir -p /files/app /files/etc/ssl/certs /files/usr/lib /files/usr/lib64 /files/var/lib/dpkg/status.d \
    && mkdir -m 1777 /files/tmp \
    && for link in /lib /lib64; do if [ -L "$link" ]; then cp -a "$link" /files/; fi; done \
    && dpkg-query --listfiles libc6 libgcc-s1 libstdc++6 >/packaged \
    && grep -E '^(/usr)?/lib.*/(ld-linux-[a-z0-9_-]+|libc|libm|libgcc_s|libstdc\+\+)\.so(\.[0-9.]+)?$' /packaged >/libraries \
    && xargs cp -a --parents --target-directory=/files </libraries \
    && for package in ca-certificates libc6 libgcc-s1 libstdc++6; do \
        dpkg-query --status "$package" >"/files/var/lib/dpkg/status.d/$package" || exit 1; \
    done \
    && cp --parents /etc/ssl/certs/ca-certificates.crt \
        /usr/share/doc/ca-certificates/copyright /usr/share/doc/gcc-*-base/copyright /usr/share/doc/libc6/copyright /files/ \
    && printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/app:/sbin/nologin\n' >/files/etc/passwd \
    && printf 'root:x:0:\nnonroot:x:65532:\n' >/files/etc/group \
    && printf 'hosts: files dns\n' >/files/etc/nsswitch.conf \
    && mkdir -p /volume/data && chown 65532:65532 /volume/data

# The server in its file system, once: no library is missing, and the configuration is good.
FROM files AS proved
COPY --from=build /llm-cache-server /files/usr/local/bin/llm-cache-server
COPY conf/container.yaml /files/app/conf/llm-cache-server.yaml
RUN chroot --userspec=65532:65532 /files \
    /usr/local/bin/llm-cache-server check --config /app/conf/llm-cache-server.yaml

FROM scratch
COPY --from=files /files /
COPY --from=files --chown=65532:65532 /volume/ /app/
COPY --from=proved /files/usr/local/bin/llm-cache-server /usr/local/bin/llm-cache-server
# A file mounted here replaces it.
COPY conf/container.yaml /app/conf/llm-cache-server.yaml
ENV PATH=/usr/local/bin
WORKDIR /app
USER 65532:65532
VOLUME /app/data
# Clients, and operators: metrics, health.
EXPOSE 9999 9901
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/llm-cache-server", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/llm-cache-server"]
CMD ["run"]

# Last, as they differ from build to build.
ARG VERSION=dev
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="llm-cache-server" \
    org.opencontainers.image.description="A caching proxy for LLM APIs: the same question is paid for once" \
    org.opencontainers.image.url="https://github.com/so2liu/llm-cache-server" \
    org.opencontainers.image.source="https://github.com/so2liu/llm-cache-server" \
    org.opencontainers.image.documentation="https://github.com/so2liu/llm-cache-server/blob/main/README.md" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}"

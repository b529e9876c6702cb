# The gateway's image: one binary, the libraries it is linked to, certificates, and nothing else.
#
#   docker build --build-arg VERSION=0.2.0 --tag modelgate:0.2.0 .
#
# Plain Dockerfile syntax, so that every builder takes it. Stages are ordered by how seldom they change: a change of the
# gateway's sources builds neither dependencies nor modules again.

ARG BUILDER=rust:1.95-bookworm

# ---- the wasm modules ------------------------------------------------------------------------------------------------
FROM ${BUILDER} AS modules
# `rustup` or `debian`; by default whichever works. See modules/build.sh.
ARG MODELGATE_WASM_TOOLCHAIN=
WORKDIR /build/modules
COPY modules .
RUN ./build.sh && rm -rf target

# ---- the gateway's dependencies, without its sources -----------------------------------------------------------------
FROM ${BUILDER} AS dependencies
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY modules/Cargo.toml modules/
COPY modules/columns modules/columns
COPY modules/image/codec modules/image/codec
COPY gateway/Cargo.toml gateway/
COPY gateway/crates/boosters/Cargo.toml gateway/crates/boosters/
COPY gateway/crates/bundle/Cargo.toml gateway/crates/bundle/
COPY gateway/crates/codec/Cargo.toml gateway/crates/codec/
COPY gateway/crates/files/Cargo.toml gateway/crates/files/
COPY gateway/crates/onnx/Cargo.toml gateway/crates/onnx/
COPY gateway/crates/sandbox/Cargo.toml gateway/crates/sandbox/
COPY gateway/crates/sources/Cargo.toml gateway/crates/sources/
COPY gateway/crates/throttle/Cargo.toml gateway/crates/throttle/
# Members of the workspace, so that the lock file fits; not built.
COPY gateway/fuzz/Cargo.toml gateway/fuzz/
COPY gateway/fuzz/checks/Cargo.toml gateway/fuzz/checks/
# Empty crates in the place of ours; their benchmarks are not here, and are not needed.
RUN for crate in gateway gateway/crates/*; do mkdir -p $crate/src && touch $crate/src/lib.rs; done \
    && echo 'fn main() {}' | tee gateway/src/main.rs > gateway/build.rs \
    && sed -i '/^\[\[bench\]\]/,/^$/d' gateway/Cargo.toml \
    && cargo build --locked --profile image --package modelgate \
    && rm -r gateway

# ---- the gateway -----------------------------------------------------------------------------------------------------
FROM dependencies AS gateway
COPY --from=modules /build/modules/dist modules/dist
# `modelgate module new` holds them.
COPY modules/templates modules/templates
COPY gateway gateway
ARG VERSION=
# Time stamps from the sources' checkout may be older than the empty crate's.
RUN sed -i '/^\[\[bench\]\]/,/^$/d' gateway/Cargo.toml \
    && find gateway -name '*.rs' -exec touch {} + \
    && MODELGATE_VERSION="$VERSION" MODELGATE_LINK=small cargo build --locked --profile image --package modelgate --bin modelgate
# The image's root file system. Modules are compiled for this machine's processor: on another one, once more at the start.
RUN mkdir -p /image/usr/local/bin /image/usr/local/lib/modelgate /image/etc/ssl/certs /image/tmp /cache/modelgate \
    && strip --strip-all -o /image/usr/local/bin/modelgate target/image/modelgate \
    && ldd target/image/modelgate | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} /image \
    && cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && /image/usr/local/bin/modelgate precompile /image/usr/local/lib/modelgate/code \
    && chmod -R a+rX /image/usr/local/lib/modelgate/code \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && echo 'modelgate:x:10001:10001::/tmp:/usr/sbin/nologin' > /image/etc/passwd \
    && echo 'modelgate:x:10001:' > /image/etc/group \
    && chmod 1777 /image/tmp
# What all of it is made of, as `make sbom` writes it, with the Debian packages that the files above are from.
COPY modules modules
COPY deploy/sbom.py deploy/
RUN python3 deploy/sbom.py --version "$VERSION" --debian libc6 --debian libgcc-s1 --debian ca-certificates \
        /image/usr/share/doc/modelgate/sbom.cdx.json

# ---- the image -------------------------------------------------------------------------------------------------------
FROM scratch
COPY --from=gateway /image /
COPY --from=gateway --chown=10001:10001 /cache /var/cache
COPY LICENSE /usr/share/doc/modelgate/LICENSE

ARG VERSION=
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="modelgate" \
      org.opencontainers.image.description="A serverless-style WASM inference gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# The drain: five seconds for load balancers to see that readiness is false, then up to twenty for requests in flight.
ENV MODELGATE_LISTEN=0.0.0.0:8080 \
    MODELGATE_CODE_CACHE=/var/cache/modelgate/code \
    MODELGATE_BUNDLE_CACHE=/var/cache/modelgate/bundles \
    MODELGATE_PRECOMPILED_MODULES=/usr/local/lib/modelgate/code \
    MODELGATE_DRAIN_DELAY=5 \
    MODELGATE_DRAIN_TIMEOUT=20
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Runs with a read-only root file system. A volume at /var/cache/modelgate keeps compiled code and fetched bundles, so that
# a new container starts without compiling or fetching; several on one machine may share it.
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["/usr/local/bin/modelgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/modelgate"]
CMD ["serve"]

# One image with every program: `docker run IMAGE broker|agent|bridge|addon ...`.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim
# `built` makes the bundle here; `given` takes the dist/ that `npm run build` left, for builders without a package registry.
ARG BUNDLE=built

# The bundle is the same on every architecture, so it is made on the builder's own.
FROM --platform=${BUILDPLATFORM} ${NODE_IMAGE} AS bundle-built
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
# The bundler needs no package's install script.
RUN npm ci --ignore-scripts
COPY scripts/build.ts scripts/bundle.ts scripts/
COPY src/ src/
RUN node scripts/build.ts

FROM scratch AS bundle-given
COPY dist/ /build/dist/

FROM bundle-${BUNDLE} AS bundle

# Node and the libraries that it is linked with, of the architecture of the image (this step alone needs emulation when that is
# another one); no shell, no package manager.
FROM ${NODE_IMAGE} AS runtime
RUN set -eu; \
    node=$(readlink -f "$(command -v node)"); \
    mkdir -p /image/usr/local/bin /image/etc /image/tmp; \
    chmod 1777 /image/tmp; \
    cp "$node" /image/usr/local/bin/node; \
    cp --dereference --parents $(ldd "$node" | grep -o '/[^ ]*') /image/; \
    echo 'culvert:x:65532:65532::/:/sbin/nologin' > /image/etc/passwd; \
    echo 'culvert:x:65532:' > /image/etc/group; \
    echo 'hosts: files dns' > /image/etc/nsswitch.conf

FROM scratch
COPY --from=runtime /image/ /
COPY --from=bundle /build/dist/ /culvert/
COPY LICENSE /culvert/
ENV NODE_ENV=production PATH=/usr/local/bin
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/usr/local/bin/node", "/culvert/culvert.mjs"]
CMD ["help"]

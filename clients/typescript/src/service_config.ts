/**
 * The service config that the clients of all languages share: retries, throttling, default deadlines.
 *
 * gRPC takes a `timeout` of the service config as a ceiling of the caller's own deadline. Here it is a default, so the
 * timeouts are read from the file and left out of what the channel is given.
 */

import { readFileSync } from "node:fs";

interface MethodConfig {
  name: { service: string; method: string }[];
  timeout?: string;
}

// A copy of clients/service_config.json; a test compares them.
const document = JSON.parse(readFileSync(new URL("../../service_config.json", import.meta.url), "utf8")) as {
  methodConfig: MethodConfig[];
};

/** Default deadline of each method, in milliseconds, by its path. */
export const timeoutsMs = new Map<string, number>();

for (const config of document.methodConfig) {
  const timeoutMs = Number.parseFloat(config.timeout ?? "") * 1000;
  delete config.timeout;
  for (const { service, method } of config.name) timeoutsMs.set(`/${service}/${method}`, timeoutMs);
}

/** Retry policies and throttling, as the channel option `grpc.service_config` takes them. */
export const channelJson = JSON.stringify(document);

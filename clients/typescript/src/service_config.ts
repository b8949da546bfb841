/**
 * The service config that the clients of all languages share: retries, throttling, default deadlines.
 *
 * gRPC takes a `timeout` of the service config as a ceiling of the caller's own deadline. Here it is a default, so the
 * timeouts are read from the file and left out of what the channel is given.
 */

import { SERVICE_CONFIG } from "./generated/service_config.js";

/** Default deadline of each method, in milliseconds, by its path. */
export const timeoutsMs = new Map<string, number>();

const methodConfig = SERVICE_CONFIG.methodConfig.map(({ timeout, ...rest }) => {
  for (const { service, method } of rest.name) timeoutsMs.set(`/${service}/${method}`, Number.parseFloat(timeout) * 1000);
  return rest;
});

/** Retry policies and throttling, as the channel option `grpc.service_config` takes them. */
export const channelJson = JSON.stringify({ ...SERVICE_CONFIG, methodConfig });

/** How a client connects: checked once, and turned into gRPC's terms. */

import { isIPv4, isIPv6 } from "node:net";

import { type ChannelOptions, credentials, type ChannelCredentials } from "@grpc/grpc-js";

import type { TurnoutError } from "./errors.js";
import { channelJson } from "./service_config.js";
import { VERSION } from "./version.js";

// Of a message, both ways; the server's own default.
const MAX_MESSAGE_BYTES = 16 << 20;
const MAX_CONNECTIONS = 256;

/** TLS by PEM bytes; `{}` trusts the public authorities that Node ships. */
export interface TlsOptions {
  /** Authorities to trust instead. */
  rootCertificates?: Buffer;
  /** The client's key, for mutual TLS; with `certificateChain`. */
  privateKey?: Buffer;
  /** The client's certificate and those between it and an authority. */
  certificateChain?: Buffer;
  /** The name that the server's certificate must bear, where it is not the target's host. */
  serverName?: string;
}

/** What changes a client's defaults. */
export interface ClientOptions {
  /** Without it, clear text is sent. */
  tls?: TlsOptions;
  /** Sent as a bearer token with every call; beyond this machine `tls` must protect it. */
  token?: string;
  /** Deadline of `route`, `routeBatch` and `checkHealth` in milliseconds; else 1,000, 5,000 and 1,000. */
  timeoutMs?: number;
  /** Deadline of `routeOr` in milliseconds; else 50. */
  routeOrTimeoutMs?: number;
  /** Called with the error each time that `routeOr` falls back. */
  onFailOpen?: (error: TurnoutError) => void;
  /** HTTP/2 connections, 1 to 256, used in turn; for where one is the limit. */
  connections?: number;
  /** What to add to the user agent `turnout-typescript/<version>`, such as "shop/2.1". */
  userAgent?: string;
  /** gRPC channel options; they replace the client's own of the same name. */
  channelOptions?: ChannelOptions;
}

/** Throws a RangeError that names the option, where one breaks its limit. */
export function checkOptions(target: string, options: ClientOptions): void {
  const { connections = 1, userAgent = "", token, tls } = options;
  if (!Number.isInteger(connections) || connections < 1 || connections > MAX_CONNECTIONS) {
    throw new RangeError(`connections: ${connections} breaks the limit: 1 to ${MAX_CONNECTIONS}`);
  }
  for (const name of ["timeoutMs", "routeOrTimeoutMs"] as const) {
    const value = options[name];
    if (value !== undefined && !(value > 0 && Number.isFinite(value))) {
      throw new RangeError(`${name}: ${value} breaks the limit: more than 0 ms, finite`);
    }
  }
  if (!/^[ -~]*$/.test(userAgent)) throw new RangeError("userAgent: printable ASCII is needed");
  if ((tls?.privateKey === undefined) !== (tls?.certificateChain === undefined)) {
    throw new RangeError("privateKey and certificateChain: both or neither");
  }
  if (token === undefined) return;
  if (!/^[!-~]+$/.test(token)) throw new RangeError("token: printable ASCII without spaces is needed");
  if (tls === undefined && !staysOnMachine(target)) {
    throw new RangeError(`token: ${target} is not on this machine, so tls is needed`);
  }
}

/** gRPC's credentials for the options. */
export function planCredentials({ tls }: ClientOptions): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(tls.rootCertificates, tls.privateKey, tls.certificateChain);
}

/** gRPC's channel options for the options. */
export function planChannel({ tls, userAgent = "", connections = 1, channelOptions }: ClientOptions): ChannelOptions {
  return {
    "grpc.primary_user_agent": `turnout-typescript/${VERSION} ${userAgent}`.trimEnd(),
    "grpc.service_config": channelJson,
    // A request larger than the buffer would be sent once only.
    "grpc.per_rpc_retry_buffer_size": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    // A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.keepalive_permit_without_calls": 0,
    // gRPC's own ceiling of 120 s would keep clients away for two minutes after an outage.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 5_000,
    // Else gRPC lets channels of equal options share one connection.
    ...(connections > 1 && { "grpc.use_local_subchannel_pool": 1 }),
    ...(tls?.serverName !== undefined && { "grpc.ssl_target_name_override": tls.serverName }),
    ...channelOptions,
  };
}

/** True if a gRPC target is a Unix socket or one loopback address; false in doubt. */
function staysOnMachine(target: string): boolean {
  if (/^unix(-abstract)?:/.test(target)) return true;
  const named = target.slice(target.lastIndexOf("/") + 1).replace(/^(dns|ipv4|ipv6):/, "");
  const host = /^\[(?<inner>[^\]]*)\]/.exec(named)?.groups?.["inner"] ?? named.replace(/^([^:]*):[^:]*$/, "$1");
  return host === "localhost" || (isIPv4(host) && host.startsWith("127.")) || (isIPv6(host) && host === "::1");
}

/** From what arrives on the wire to errors. Nothing that a peer may send makes this throw. */

import { type ServiceError, status } from "@grpc/grpc-js";

import * as errors from "./errors.js";
import { type ErrorFields, TurnoutError } from "./errors.js";
import { CompleteFailure } from "./generated/turnout/v1/completion.js";
import { ErrorReason } from "./generated/turnout/v1/error_reason.js";
import type { RouteError } from "./generated/turnout/v1/routing.js";
import { readDetails, readErrorInfo, readRetryDelayMs, readViolations } from "./wire.js";

const DOMAIN = "turnout.v1";
const DETAILS_KEY = "grpc-status-details-bin";
const REASON_PREFIX = "ERROR_REASON_";
// The words of gRPC, and its only sign, for a message beyond a limit of one of both sides.
const REQUEST_TOO_LARGE =
  /Attempted to send message with a size larger than (?<most>\d+)|SERVER: Received message larger than max \((?<value>\d+) vs\. (?<limit>\d+)\)/;
const UNWRITABLE = "Request message serialization failure";

const CLASSES = new Map<status, typeof TurnoutError>([
  [status.INVALID_ARGUMENT, errors.InvalidRequestError],
  [status.RESOURCE_EXHAUSTED, errors.OverloadedError],
  [status.UNAVAILABLE, errors.UnavailableError],
  [status.DEADLINE_EXCEEDED, errors.DeadlineExceededError],
  [status.CANCELLED, errors.CallCancelledError],
  [status.UNAUTHENTICATED, errors.AccessDeniedError],
  [status.PERMISSION_DENIED, errors.AccessDeniedError],
  [status.INTERNAL, errors.InternalError],
  [status.UNKNOWN, errors.InternalError],
  [status.DATA_LOSS, errors.InternalError],
]);

/** The error of a failed call: by the google.rpc.Status in its trailers, else by code and message alone. */
export function decodeError(error: ServiceError): TurnoutError {
  const message = error.details ?? "";
  const code = knownCode(error.code);
  let reason = "";
  const metadata = new Map<string, string>();
  let retryAfterMs: number | undefined;
  let failure: CompleteFailure | undefined;
  const readers: Record<string, (value: Uint8Array) => void> = {
    "google.rpc.ErrorInfo": (value) => {
      const info = readErrorInfo(value);
      // Another domain's reasons are not ours, whatever their names.
      if (info.domain !== DOMAIN) return;
      reason = info.reason;
      for (const [key, text] of info.metadata) metadata.set(key, text);
    },
    "google.rpc.BadRequest": (value) => {
      for (const field of readViolations(value)) if (!metadata.has("field")) metadata.set("field", field);
    },
    "google.rpc.RetryInfo": (value) => {
      retryAfterMs = readRetryDelayMs(value);
    },
    "turnout.v1.CompleteFailure": (value) => {
      failure = CompleteFailure.decode(value);
    },
  };
  for (const packed of error.metadata?.get(DETAILS_KEY) ?? []) {
    if (typeof packed === "string") continue;
    for (const detail of orNothing(() => readDetails(packed)) ?? []) {
      orNothing(() => readers[detail.type]?.(detail.value));
    }
  }
  if (!reason && code === status.RESOURCE_EXHAUSTED) {
    const sizes = REQUEST_TOO_LARGE.exec(message)?.groups;
    if (sizes) {
      const { most, value = "", limit = most } = sizes;
      const shown = { ...(value && { value: `${value} bytes` }), limit: `${limit} bytes` };
      return new errors.InvalidRequestError(message, { code, metadata: shown });
    }
    if (message.includes("larger than max")) return new TurnoutError(message, { code });
  }
  if (!reason && code === status.INTERNAL && message.startsWith(UNWRITABLE)) {
    return new errors.InvalidRequestError(message, { code });
  }
  return make(message, { code, reason, metadata: Object.fromEntries(metadata), retryAfterMs, failure });
}

/** The error of one item of a batch or stream. */
export function decodeItemError(error: RouteError): TurnoutError {
  const name = ErrorReason[error.reason];
  // A newer server's reason is known by its number only.
  const reason = error.reason < 0 || name === undefined ? `UNKNOWN_${error.reason}` : name.slice(REASON_PREFIX.length);
  return make(error.message, {
    code: knownCode(error.code),
    reason: reason === "UNSPECIFIED" ? "" : reason,
    metadata: error.field ? { field: error.field } : {},
  });
}

/** The class goes by the reason where that has one, else by the code, so new reasons break nothing. */
function make(message: string, fields: ErrorFields): TurnoutError {
  const kind = fields.reason === "NO_CANDIDATE" ? errors.NoCandidateError : CLASSES.get(fields.code);
  return new (kind ?? TurnoutError)(message, fields);
}

function knownCode(code: number): status {
  return status[code] === undefined ? status.UNKNOWN : code;
}

function orNothing<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // Bytes that are not the message that they are said to be.
    return undefined;
  }
}

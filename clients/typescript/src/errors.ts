/** What a call can fail with. One class for each thing that a caller would do differently. */

import { status } from "@grpc/grpc-js";

import type { CompleteFailure } from "./generated/turnout/v1/completion.js";

/** What an error is made of. */
export interface ErrorFields {
  /** gRPC's status code. */
  code: status;
  /**
   * The service's reason: the name of an ErrorReason without its prefix, or a newer service's own. Empty where the error
   * came from gRPC or a proxy.
   */
  reason?: string;
  /** The reason's, as turnout/v1/error_reason.proto lists it. */
  metadata?: Readonly<Record<string, string>>;
  /** Milliseconds after which the service asks to come back; undefined where it does not say. */
  retryAfterMs?: number | undefined;
  /** What was done for a completion that failed; undefined where nothing was asked upstream. */
  failure?: CompleteFailure | undefined;
}

/** A request got no answer. Thrown as itself where the status code is none of those below. Never holds the caller's text. */
export class TurnoutError extends Error {
  readonly code: status;
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;
  readonly failure: CompleteFailure | undefined;

  constructor(message: string, fields: ErrorFields) {
    super(message);
    this.name = new.target.name;
    this.code = fields.code;
    this.reason = fields.reason ?? "";
    this.metadata = fields.metadata ?? {};
    this.retryAfterMs = fields.retryAfterMs;
    this.failure = fields.failure;
  }

  /** A name to count by: the reason, or the status code's name, such as UNAVAILABLE, where there is none. */
  get label(): string {
    return this.reason || (status[this.code] ?? "UNKNOWN");
  }

  /**
   * Why no upstream answered: how many attempts ended so or deployments were closed for it, by the name of a FaultKind in
   * lower case. Empty where the service does not say.
   */
  get causes(): Record<string, number> {
    const { cause, causes } = this.metadata;
    const found = (causes ?? "").matchAll(/([^=, ]+)=(\d+)/g);
    return Object.fromEntries([
      ...(cause ? [[cause, 1] as const] : []),
      ...[...found].map(([, name, count]) => [name, Number(count)] as const),
    ]) as Record<string, number>;
  }
}

/**
 * The request breaks the contract: asking again does not help, and `routeOr` throws it. INVALID_ARGUMENT, or a message
 * that is too large or cannot be written.
 */
export class InvalidRequestError extends TurnoutError {
  /** The field at fault, such as "constraints.min_tier"; empty if none is. */
  get field(): string {
    return this.metadata["field"] ?? "";
  }

  /** What was given, shortened; empty where it is the caller's text. */
  get value(): string {
    return this.metadata["value"] ?? "";
  }

  /** What is allowed; empty where there is no such thing. */
  get limit(): string {
    return this.metadata["limit"] ?? "";
  }
}

/** The constraints leave no deployment that could serve (FAILED_PRECONDITION). */
export class NoCandidateError extends TurnoutError {
  /** The constraint that removed the last candidate; empty where the service does not say. */
  get constraint(): string {
    return this.metadata["constraint"] ?? "";
  }
}

/** The service, a budget, or something before it, is at its limit (RESOURCE_EXHAUSTED). See `retryAfterMs`. */
export class OverloadedError extends TurnoutError {}

/** The service cannot be reached, or no upstream answered (UNAVAILABLE), after the retries. See `causes`. */
export class UnavailableError extends TurnoutError {}

/** The deadline passed before there was an answer (DEADLINE_EXCEEDED). */
export class DeadlineExceededError extends TurnoutError {}

/** The call was cancelled (CANCELLED), by closing the client or by the service; not by the caller's own signal. */
export class CallCancelledError extends TurnoutError {}

/** No credentials, or credentials that do not suffice (UNAUTHENTICATED, PERMISSION_DENIED). */
export class AccessDeniedError extends TurnoutError {}

/** A defect of the service (INTERNAL, UNKNOWN, DATA_LOSS). */
export class InternalError extends TurnoutError {
  /** The name under which the cause is in the service's log; empty where it gives none. */
  get incident(): string {
    return this.metadata["incident"] ?? "";
  }
}

/** A client was used after `close`. A defect of the caller, so no TurnoutError: `routeOr` throws it. */
export class ClientClosedError extends Error {
  constructor() {
    super("the client is closed");
    this.name = "ClientClosedError";
  }
}

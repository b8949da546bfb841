/** Requests: a bare prompt, or the contract's message with what is set. */

import { CompleteRequest } from "./generated/turnout/v1/completion.js";
import { RouteRequest } from "./generated/turnout/v1/routing.js";

/** A message of the contract of which only some fields are given. */
export type Partly<T> = T extends bigint | boolean | number | string | Uint8Array | undefined
  ? T
  : T extends (infer Item)[]
    ? readonly Partly<Item>[]
    : T extends { $case: string; value: unknown }
      ? { $case: T["$case"]; value: Partly<T["value"]> }
      : { [Key in keyof T]?: Partly<T[Key]> | undefined };

/** What is to be decided: a prompt, at most 4 MiB, or a request. */
export type RouteLike = string | Partly<RouteRequest>;

/** What is to be answered: a prompt, at most 4 MiB, or a request. */
export type CompleteLike = string | Partly<CompleteRequest>;

type Given<T> = T extends { fromPartial(object: infer Object): unknown } ? Object : never;

export function buildRequest(request: RouteLike): RouteRequest {
  const given = typeof request === "string" ? { prompt: request } : request;
  return RouteRequest.fromPartial(given as Given<typeof RouteRequest>);
}

export function buildCompleteRequest(request: CompleteLike): CompleteRequest {
  const given = typeof request === "string" ? { prompt: request } : request;
  return CompleteRequest.fromPartial(given as Given<typeof CompleteRequest>);
}

/**
 * Runs the cases of the conformance table through the TypeScript client: `node runner.js cases.json`. What it reads and
 * writes is described in tests/conformance/README.md of the project.
 */

import { readFileSync } from "node:fs";

import { status } from "@grpc/grpc-js";

import * as turnout from "../src/index.js";
import * as v1 from "../src/v1.js";

interface Case {
  id: string;
  address: string;
  operation: string;
  requests: { base64: string }[];
  timeout_s?: number;
  default_tier?: string;
  cancel_after_s?: number;
  cancel_after_events?: number;
  connections?: number;
}

type Outcome = Record<string, unknown>;

interface MessageKind<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

const KINDS = [
  [turnout.InvalidRequestError, "invalid_request"],
  [turnout.NoCandidateError, "no_candidate"],
  [turnout.OverloadedError, "overloaded"],
  [turnout.UnavailableError, "unavailable"],
  [turnout.DeadlineExceededError, "deadline_exceeded"],
  [turnout.CallCancelledError, "cancelled"],
  [turnout.AccessDeniedError, "access_denied"],
  [turnout.InternalError, "internal"],
] as const;

function read<T>(one: Case, kind: MessageKind<T>): T[] {
  return one.requests.map((request) => kind.decode(Buffer.from(request.base64, "base64")));
}

function first<T>(one: Case, kind: MessageKind<T>): T {
  const [request] = read(one, kind);
  if (request === undefined) throw new Error(`${one.id}: a request is needed`);
  return request;
}

function form<T>(kind: MessageKind<T>, message: T): Outcome {
  return { base64: Buffer.from(kind.encode(message).finish()).toString("base64") };
}

function formOfResult(result: turnout.Result): Outcome {
  if (result instanceof turnout.TurnoutError) return { error: formOfError(result) };
  return { response: form(v1.RouteResponse, result) };
}

function formOfError(error: turnout.TurnoutError): Outcome {
  const [, kind] = KINDS.find(([type]) => error instanceof type) ?? [undefined, "other"];
  return {
    kind,
    code: status[error.code],
    reason: error.reason || "UNSPECIFIED",
    field: error.metadata["field"] ?? "",
    metadata: error.metadata,
    retry_after_s: error.retryAfterMs === undefined ? null : error.retryAfterMs / 1000,
  };
}

/** Makes the call; what comes goes into `outcome` as it comes. */
async function call(client: turnout.Client, one: Case, outcome: Outcome, signal: AbortSignal): Promise<void> {
  const timeoutMs = one.timeout_s === undefined ? undefined : one.timeout_s * 1000;
  const options = { timeoutMs, signal };
  const collect = async <T>(key: string, stream: AsyncIterable<T>, toForm: (item: T) => Outcome): Promise<void> => {
    const found: Outcome[] = [];
    outcome[key] = found;
    for await (const item of stream) {
      if (found.push(toForm(item)) === one.cancel_after_events) break;
    }
  };
  switch (one.operation) {
    case "route":
      outcome["response"] = form(v1.RouteResponse, await client.route(first(one, v1.RouteRequest), options));
      return;
    case "route_or": {
      const decision = await client.routeOr(one.default_tier ?? "", first(one, v1.RouteRequest), options);
      outcome["tier"] = decision.tier;
      outcome["fell_back"] = decision.fellBack;
      if (!decision.fellBack) outcome["response"] = form(v1.RouteResponse, decision);
      return;
    }
    case "route_batch":
      outcome["results"] = (await client.routeBatch(read(one, v1.RouteRequest), options)).map(formOfResult);
      return;
    case "route_stream":
      return collect("results", client.routeStream(read(one, v1.RouteRequest), options), formOfResult);
    case "complete":
      outcome["response"] = form(v1.CompleteResponse, await client.complete(first(one, v1.CompleteRequest), options));
      return;
    case "complete_stream": {
      const { request = {}, mode, onCut } = first(one, v1.CompleteStreamRequest);
      return collect("events", client.completeStream(request, { ...options, mode, onCut }), (event) =>
        form(v1.CompleteStreamResponse, event),
      );
    }
    case "check_health":
      outcome["health"] = turnout.HealthStatus[await client.checkHealth("", options)];
      return;
    default:
      throw new Error(`${one.id}: operation: ${one.operation} is not known`);
  }
}

async function run(one: Case): Promise<Outcome> {
  using client = new turnout.Client(one.address, { connections: one.connections ?? 1 });
  const outcome: Outcome = {};
  const caller = new AbortController();
  const timer = one.cancel_after_s && setTimeout(() => caller.abort(), one.cancel_after_s * 1000);
  try {
    await call(client, one, outcome, caller.signal);
  } catch (error) {
    if (error instanceof turnout.TurnoutError) outcome["error"] = formOfError(error);
    // JavaScript has a word of its own for the caller's cancellation.
    else if (error === caller.signal.reason) outcome["error"] = { kind: "cancelled", code: "CANCELLED" };
    else throw error;
  } finally {
    if (timer) clearTimeout(timer);
  }
  outcome["failed_open"] = Object.values(client.failOpenCount).reduce((sum, count) => sum + count, 0);
  return outcome;
}

const [path = ""] = process.argv.slice(2);
const { cases } = JSON.parse(readFileSync(path, "utf8")) as { cases: Case[] };
for (const one of cases) {
  process.stdout.write(`${JSON.stringify({ id: one.id, outcome: await run(one) })}\n`);
}

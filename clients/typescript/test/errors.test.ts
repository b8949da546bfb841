/** From what arrives on the wire to errors. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { status } from "@grpc/grpc-js";
import { BinaryWriter } from "@bufbuild/protobuf/wire";

import {
  InternalError,
  InvalidRequestError,
  NoCandidateError,
  OverloadedError,
  TurnoutError,
  UnavailableError,
} from "../src/index.js";
import { CompleteFailure, ErrorReason, RouteResult } from "../src/v1.js";
import { errorInfo, failure, open, pack, serve } from "./fake.js";

async function failWith(t: TestContext, code: status, ...details: Uint8Array[]): Promise<TurnoutError> {
  const fake = await serve(t);
  fake.onComplete = () => Promise.reject(failure(code, details));
  try {
    await open(t, fake.target).complete("a");
  } catch (error) {
    assert.ok(error instanceof TurnoutError);
    assert.equal(error.message, "for people");
    return error;
  }
  assert.fail("no error");
}

function delay(seconds: number, nanos: number): Uint8Array {
  const duration = new BinaryWriter().uint32(8).int64(seconds).uint32(16).int32(nanos).finish();
  return pack("google.rpc.RetryInfo", new BinaryWriter().uint32(10).bytes(duration).finish());
}

function badRequest(...fields: string[]): Uint8Array {
  const request = new BinaryWriter();
  for (const field of fields) request.uint32(10).bytes(new BinaryWriter().uint32(10).string(field).finish());
  return pack("google.rpc.BadRequest", request.finish());
}

test("an invalid request names the field", async (t) => {
  const info = errorInfo("INVALID_FIELD", { field: "messages[3].role", value: "9", limit: "0 to 5" });
  const error = await failWith(t, status.INVALID_ARGUMENT, badRequest("other"), info);
  assert.ok(error instanceof InvalidRequestError);
  assert.deepEqual([error.name, error.reason, error.field, error.value, error.limit], [
    "InvalidRequestError", "INVALID_FIELD", "messages[3].role", "9", "0 to 5",
  ]);
});

test("the field of a BadRequest alone", async (t) => {
  const error = await failWith(t, status.INVALID_ARGUMENT, badRequest("policy", "prompt"));
  assert.ok(error instanceof InvalidRequestError);
  assert.equal(error.field, "policy");
});

test("overloaded says when to come back", async (t) => {
  const error = await failWith(t, status.RESOURCE_EXHAUSTED, errorInfo("OVERLOADED"), delay(1, 500_000_000));
  assert.ok(error instanceof OverloadedError);
  assert.equal(error.retryAfterMs, 1_500);
});

test("unavailable has causes and what was done", async (t) => {
  const done = pack("turnout.v1.CompleteFailure", CompleteFailure.encode(CompleteFailure.fromPartial({ tier: "mid" })).finish());
  const info = errorInfo("UPSTREAM_UNAVAILABLE", { causes: "rate_limited=2, connection=1" });
  const error = await failWith(t, status.UNAVAILABLE, info, done);
  assert.ok(error instanceof UnavailableError);
  assert.deepEqual(error.causes, { rate_limited: 2, connection: 1 });
  assert.equal(error.failure?.tier, "mid");
});

test("a cut stream has one cause", async (t) => {
  const error = await failWith(t, status.UNAVAILABLE, errorInfo("STREAM_CUT", { cause: "cut" }));
  assert.deepEqual(error.causes, { cut: 1 });
});

test("other classes by reason and code", async (t) => {
  const nobody = await failWith(t, status.FAILED_PRECONDITION, errorInfo("NO_CANDIDATE", { constraint: "region" }));
  assert.ok(nobody instanceof NoCandidateError);
  assert.equal(nobody.constraint, "region");
  const internal = await failWith(t, status.INTERNAL, errorInfo("INTERNAL", { incident: "a1b2" }));
  assert.ok(internal instanceof InternalError);
  assert.equal(internal.incident, "a1b2");
  const strange = await failWith(t, status.FAILED_PRECONDITION, errorInfo("FROM_THE_FUTURE"));
  assert.deepEqual([strange.name, strange.label], ["TurnoutError", "FROM_THE_FUTURE"]);
  const foreign = await failWith(t, status.ABORTED, errorInfo("UNKNOWN_TIER", {}, "example.com"));
  assert.deepEqual([foreign.name, foreign.label], ["TurnoutError", "ABORTED"]);
});

test("garbled and unknown details break nothing", async (t) => {
  for (const detail of [
    new Uint8Array([255, 255, 255]),
    pack("of.the.Future", new Uint8Array([1])),
    pack("google.rpc.ErrorInfo", new Uint8Array([10, 200])),
    pack("turnout.v1.CompleteFailure", new Uint8Array([10, 200])),
    pack("constructor", new Uint8Array([1])),
  ]) {
    assert.equal((await failWith(t, status.ABORTED, detail)).label, "ABORTED");
  }
});

test("metadata of any name is kept and nothing else is touched", async (t) => {
  const error = await failWith(t, status.ABORTED, errorInfo("SOME", { __proto__x: "1", constructor: "2" }));
  assert.deepEqual(error.metadata, { __proto__x: "1", constructor: "2" });
});

test("errors of items are not the call's", async (t) => {
  const fake = await serve(t);
  const failed = (code: number, reason: ErrorReason | number, field = ""): RouteResult => ({
    result: { $case: "error", value: { code, reason, message: "for people", field } },
  });
  fake.onBatch = () => ({
    results: [failed(3, ErrorReason.ERROR_REASON_UNKNOWN_POLICY, "policy"), failed(77, 99), failed(-1, 0), { result: undefined }],
  });
  const results = await open(t, fake.target).routeBatch(["a", "b", "c", "d"]);
  assert.deepEqual(results.map((result) => (result as TurnoutError).label), ["UNKNOWN_POLICY", "UNKNOWN_99", "UNKNOWN", "UNKNOWN"]);
  assert.ok(results[0] instanceof InvalidRequestError && results[0].field === "policy");
});

test("a message beyond the limit is the caller's fault", async (t) => {
  const fake = await serve(t);
  await assert.rejects(open(t, fake.target).routeOr("mid", "a".repeat(17 << 20)), (error) => {
    return error instanceof InvalidRequestError && error.limit === "16777216 bytes";
  });
});

test("a request that cannot be written is the caller's fault", async (t) => {
  const fake = await serve(t);
  const request = { requirements: { contextTokens: -1 } };
  await assert.rejects(open(t, fake.target).routeOr("mid", request), InvalidRequestError);
  assert.equal(fake.calls.length, 0);
});

/** The client's calls: what is sent, what comes back, what is thrown, retries, and failing open. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { status } from "@grpc/grpc-js";

import {
  CallCancelledError,
  type Client,
  Client as RealClient,
  ClientClosedError,
  type Decision,
  HealthStatus,
  InternalError,
  InvalidRequestError,
  type Result,
  type RouteLike,
  type TurnoutError,
  UnavailableError,
  VERSION,
} from "../src/index.js";
import { RouteRequest } from "../src/v1.js";
import { answer, collect, failure, freeTarget, gone, open, PATIENCE_MS, serve, text } from "./fake.js";

function policies(results: Result[]): string {
  return results.map((result) => (result as Decision).policy).join("");
}

async function callEverything(client: Client): Promise<void> {
  await client.route("a");
  await client.routeBatch(["a"]);
  await collect(client.routeStream(["a"]));
  await client.complete("a");
  await collect(client.completeStream("a"));
}

test("route sends the request and gives the decision", async (t) => {
  const fake = await serve(t);
  const decision = await open(t, fake.target).route({ prompt: "how?", caller: { tenant: "acme" } });
  const request = RouteRequest.fromPartial({ prompt: "how?", caller: { tenant: "acme" } });
  assert.deepEqual(decision, { ...answer(request), fellBack: false });
  assert.deepEqual(fake.requests, [request]);
});

test("batch and stream keep the order", async (t) => {
  const fake = await serve(t);
  const client = open(t, fake.target);
  assert.equal(policies(await client.routeBatch(["a", { prompt: "b" }, "c"])), "abc");
  async function* requests(): AsyncGenerator<RouteLike> {
    yield "d";
    yield { prompt: "e" };
  }
  assert.equal(policies(await collect(client.routeStream(requests()))), "de");
  assert.equal(policies(await collect(client.routeStream(["f", "g"]))), "fg");
});

test("a long stream waits for the service and keeps the order", async (t) => {
  const fake = await serve(t);
  const prompts = Array.from({ length: 500 }, (_, i) => `${i}${"x".repeat(2_000)}`);
  const found = await collect(open(t, fake.target).routeStream(prompts));
  assert.deepEqual(found.map((result) => (result as Decision).policy), prompts);
});

test("an empty batch makes no call", async (t) => {
  const fake = await serve(t);
  assert.deepEqual(await open(t, fake.target).routeBatch([]), []);
  assert.equal(fake.calls.length, 0);
});

test("a batch of too few results is an error", async (t) => {
  const fake = await serve(t);
  fake.onBatch = () => ({ results: [] });
  await assert.rejects(open(t, fake.target).routeBatch(["a", "b"]), (error) => {
    return error instanceof InternalError && error.message === "0 results for 2 requests";
  });
});

test("what requests of a stream throw is thrown after the results of what came before", async (t) => {
  const fake = await serve(t);
  function* requests(): Generator<RouteLike> {
    yield "a";
    throw new RangeError("as told");
  }
  const found: Result[] = [];
  await assert.rejects(async () => {
    for await (const result of open(t, fake.target).routeStream(requests())) found.push(result);
  }, RangeError);
  assert.equal(policies(found), "a");
});

test("a stream that the service ends does not wait for further requests", async (t) => {
  const fake = await serve(t);
  fake.onStream = (call) => call.end();
  async function* requests(): AsyncGenerator<RouteLike> {
    yield "a";
    await new Promise(() => {});
  }
  assert.deepEqual(await collect(open(t, fake.target).routeStream(requests())), []);
});

test("calls carry the user agent and the token", async (t) => {
  const fake = await serve(t);
  await callEverything(open(t, fake.target, { token: "s3cret", userAgent: "shop/2" }));
  assert.equal(fake.calls.length, 5);
  for (const { metadata } of fake.calls) {
    assert.match(String(metadata.get("user-agent")[0]), new RegExp(`^turnout-typescript/${VERSION} shop/2 grpc-node`));
    assert.deepEqual(metadata.get("authorization"), ["Bearer s3cret"]);
  }
});

test("every call has a deadline", async (t) => {
  const fake = await serve(t);
  const client = new RealClient(fake.target);
  t.after(() => client.close());
  await callEverything(client);
  const limitsMs: Record<string, number> = {
    route: 1_000,
    routeBatch: 5_000,
    routeStream: 3_600_000,
    complete: 120_000,
    completeStream: 600_000,
  };
  for (const { method, remainingMs } of fake.calls) {
    // Deadlines travel rounded up, in the coarser units the longer they are.
    assert.ok(remainingMs <= (limitsMs[method] ?? 0) * 1.01, `${method}: ${remainingMs} ms`);
  }
});

test("deadlines can be longer than the defaults", async (t) => {
  const fake = await serve(t);
  await open(t, fake.target).route("a", { timeoutMs: 50_000 });
  assert.ok((fake.calls[0]?.remainingMs ?? 0) > PATIENCE_MS);
});

test("a signal cancels a call, which throws its reason", async (t) => {
  const fake = await serve(t);
  const caller = new AbortController();
  let left: Promise<void> | undefined;
  fake.onRoute = async (request, call) => {
    left = gone(call);
    caller.abort(new RangeError("enough"));
    await left;
    return answer(request);
  };
  const client = open(t, fake.target);
  await assert.rejects(client.routeOr("mid", "a", { signal: caller.signal }), RangeError);
  await left;
  assert.deepEqual(client.failOpenCount, {});
  await assert.rejects(client.route("a", { signal: caller.signal }), RangeError);
  assert.equal(fake.calls.length, 1);
});

test("a signal cancels a stream", async (t) => {
  const fake = await serve(t);
  let left: Promise<void> | undefined;
  fake.onCompleteStream = (call) => {
    left = gone(call);
    call.write(text("a"));
  };
  const caller = new AbortController();
  await assert.rejects(async () => {
    for await (const event of open(t, fake.target).completeStream("a", { signal: caller.signal })) {
      assert.deepEqual(event, text("a"));
      caller.abort();
    }
  }, { name: "AbortError" });
  await left;
});

test("leaving the loop cancels the stream", async (t) => {
  const fake = await serve(t);
  let left: Promise<void> | undefined;
  fake.onCompleteStream = (call) => {
    left = gone(call);
    for (let i = 0; i < 3; i++) call.write(text("a"));
  };
  assert.deepEqual(await collect(open(t, fake.target).completeStream("a"), 1), [text("a")]);
  await left;
});

test("events before an error are given first", async (t) => {
  const fake = await serve(t);
  fake.onCompleteStream = (call) => {
    for (let i = 0; i < 49; i++) call.write(text(`${i}`));
    // The service's own stack drops what is not written yet.
    call.write(text("49"), () => call.emit("error", failure(status.UNAVAILABLE)));
  };
  const found: unknown[] = [];
  await assert.rejects(async () => {
    for await (const event of open(t, fake.target).completeStream("a")) {
      found.push(event);
      await sleep(0);
    }
  }, UnavailableError);
  assert.equal(found.length, 50);
});

test("health", async (t) => {
  const fake = await serve(t);
  const client = open(t, fake.target, { connections: 3 });
  assert.equal(await client.checkHealth(), HealthStatus.SERVING);
  assert.equal(new Set(fake.calls.map(({ peer }) => peer)).size, 3);
  assert.equal(await client.checkHealth("nobody"), HealthStatus.SERVICE_UNKNOWN);
  fake.health.set("", 2);
  assert.equal(await client.checkHealth(), HealthStatus.NOT_SERVING);
});

for (const [pushback, attempts] of [["", 4], ["0", 4], ["10", 4], ["-1", 1]] as const) {
  test(`unavailable is tried ${attempts} times with a pushback of "${pushback}", completions once`, async (t) => {
    const fake = await serve(t);
    const unavailable = failure(status.UNAVAILABLE, [], pushback ? { "grpc-retry-pushback-ms": pushback } : {});
    fake.onRoute = () => Promise.reject(unavailable);
    fake.onComplete = () => Promise.reject(unavailable);
    const client = open(t, fake.target);
    await assert.rejects(client.route("a"), UnavailableError);
    assert.equal(fake.calls.length, attempts);
    await assert.rejects(client.complete("a"), UnavailableError);
    assert.equal(fake.calls.length, attempts + 1);
  });
}

test("throttling ends the retries of a service that stays away", async (t) => {
  const fake = await serve(t);
  fake.onRoute = () => Promise.reject(failure(status.UNAVAILABLE, [], { "grpc-retry-pushback-ms": "1" }));
  const client = open(t, fake.target);
  for (let i = 0; i < 40; i++) await assert.rejects(client.route("a"), UnavailableError);
  // Of 100 tokens each failed attempt takes one, and half must be left for a retry.
  assert.ok(fake.calls.length >= 50 && fake.calls.length < 90, `${fake.calls.length} attempts`);
});

test("routeOr fails open and counts", async (t) => {
  const fake = await serve(t);
  fake.onRoute = ({ prompt }) => Promise.reject(failure(prompt === "mine" ? status.INVALID_ARGUMENT : status.INTERNAL));
  const told: TurnoutError[] = [];
  const onFailOpen = (error: TurnoutError): void => {
    told.push(error);
    throw new Error("a broken counter");
  };
  const client = open(t, fake.target, { onFailOpen });
  const decision = await client.routeOr("frontier", "a");
  assert.deepEqual([decision.tier, decision.fellBack], ["frontier", true]);
  assert.deepEqual(decision.reasons.map(({ id }) => id), ["INTERNAL"]);
  assert.equal((await client.routeOr((error) => error.label, "a")).tier, "INTERNAL");
  await assert.rejects(client.routeOr("frontier", "mine"), InvalidRequestError);
  assert.deepEqual(client.failOpenCount, { INTERNAL: 2 });
  assert.equal(told.length, 2);
});

test("routeOr without a service", async (t) => {
  const client = open(t, await freeTarget(), { routeOrTimeoutMs: 50 });
  assert.equal((await client.routeOr("small", "a")).tier, "small");
});

test("a closed client is refused", async (t) => {
  const fake = await serve(t);
  const client = open(t, fake.target);
  client.close();
  client.close();
  for (const call of [
    () => client.route("a"),
    () => client.routeOr("mid", "a"),
    () => client.routeBatch(["a"]),
    () => client.complete("a"),
    () => client.checkHealth(),
    () => collect(client.routeStream(["a"])),
    () => collect(client.completeStream("a")),
  ]) {
    await assert.rejects(call, ClientClosedError);
  }
});

test("closing ends calls in flight", async (t) => {
  const fake = await serve(t);
  const client = open(t, fake.target);
  fake.onRoute = async (request, call) => {
    client.close();
    await gone(call);
    return answer(request);
  };
  await assert.rejects(client.route("a"), CallCancelledError);
});

test("a lone surrogate is replaced, and other text arrives as it was", async (t) => {
  const fake = await serve(t);
  const client = open(t, fake.target);
  assert.equal((await client.route("a\ud800b")).policy, "a\ufffdb");
  assert.equal((await client.route("\0 é中😀")).policy, "\0 é中😀");
});

/** A thousand calls, ten thousand with TURNOUT_FULL=1, two in five of them left early, leave nothing behind. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { getActiveResourcesInfo } from "node:process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, DeadlineExceededError } from "../src/index.js";
import { answer, collect, gone, PATIENCE_MS, serve, text } from "./fake.js";

const ROUNDS = process.env["TURNOUT_FULL"] === "1" ? 1_000 : 100;
// Node's own server closes a connection on which it sees more than about a thousand resets.
const CONNECTIONS = 8;

/** Ends of TCP connections in this process, the service's among them. */
function sockets(): number {
  return getActiveResourcesInfo().filter((name) => name.startsWith("TCPSocket")).length;
}

async function settle(what: string, left: () => number): Promise<void> {
  // gRPC tidies up behind the caller's back.
  for (const end = Date.now() + PATIENCE_MS; left() > 0; await sleep(10)) {
    assert.ok(Date.now() < end, `${what}: ${left()} are left`);
  }
}

async function useTenTimes(client: Client, signal: AbortSignal): Promise<void> {
  for (let i = 0; i < 6; i++) await client.route("a", { signal });
  await assert.rejects(client.route("slow", { timeoutMs: 1 }), DeadlineExceededError);
  const caller = new AbortController();
  setTimeout(() => caller.abort(), 1);
  await assert.rejects(client.route("slow", { signal: caller.signal }), { name: "AbortError" });
  await collect(client.routeStream(["a", "b", "c"], { signal }), 1);
  await collect(client.completeStream("a", { signal }), 1);
}

test("calls leave nothing behind", async (t) => {
  const fake = await serve(t);
  let streams = 0;
  fake.onRoute = async (request, call) => {
    if (request.prompt === "slow") await gone(call);
    return answer(request);
  };
  fake.onCompleteStream = (call) => {
    streams += 1;
    call.on("cancelled", () => {
      streams -= 1;
    });
    for (let i = 0; i < 10; i++) call.write(text("a"));
  };
  const before = sockets();
  const client = new Client(fake.target, { connections: CONNECTIONS, timeoutMs: PATIENCE_MS });
  const { signal } = new AbortController();
  for (let i = 0; i < ROUNDS; i++) await useTenTimes(client, signal);
  assert.equal(getEventListeners(signal, "abort").length, 0);
  await settle("streams", () => streams);
  // Of a call that has ended already, the service's stack knows no peer.
  const peers = new Set(fake.calls.map(({ peer }) => peer).filter((peer) => peer !== "unknown"));
  assert.equal(peers.size, CONNECTIONS, [...peers].join(", "));
  client.close();
  await settle("connections", () => sockets() - before);
});

test("clients leave nothing behind", async (t) => {
  const fake = await serve(t);
  const before = sockets();
  for (let i = 0; i < 50; i++) {
    using client = new Client(fake.target, { connections: 2, timeoutMs: PATIENCE_MS });
    await client.route("a");
    await client.route("a");
  }
  await settle("connections", () => sockets() - before);
});

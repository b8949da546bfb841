/** How a client connects, and that what is copied into the package is the project's own. */

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { Client, type ClientOptions, VERSION } from "../src/index.js";
import { SERVICE_CONFIG } from "../src/generated/service_config.js";
import { channelJson, timeoutsMs } from "../src/service_config.js";

const PACKAGE = new URL("../../", import.meta.url);

function read(path: string): string {
  return readFileSync(new URL(path, PACKAGE), "utf8");
}

for (const [options, told] of [
  [{ connections: 0 }, /^connections: 0 breaks the limit: 1 to 256$/],
  [{ connections: 1.5 }, /^connections: 1.5 breaks/],
  [{ timeoutMs: 0 }, /^timeoutMs: 0 breaks the limit/],
  [{ routeOrTimeoutMs: Number.NaN }, /^routeOrTimeoutMs: NaN breaks/],
  [{ userAgent: "a\nb" }, /^userAgent: printable ASCII/],
  [{ token: "s3cret with spaces" }, /^token: printable ASCII without spaces is needed$/],
  [{ tls: { privateKey: Buffer.from("key") } }, /both or neither/],
] as [ClientOptions, RegExp][]) {
  test(`a client cannot be made with ${Object.keys(options)[0]} of ${JSON.stringify(Object.values(options)[0])}`, () => {
    assert.throws(() => new Client("localhost:1", options), (error) => {
      return error instanceof RangeError && told.test(error.message) && !error.message.includes("s3cret");
    });
  });
}

test("where a token may go in clear text", () => {
  for (const [target, stays] of [
    ["localhost:50051", true],
    ["127.0.0.1:50051", true],
    ["127.0.0.2", true],
    ["[::1]:50051", true],
    ["dns:///localhost:50051", true],
    ["ipv4:127.0.0.1:50051", true],
    ["ipv6:[::1]:50051", true],
    ["unix:/run/turnout.sock", true],
    ["router.internal:50051", false],
    ["10.0.0.1:50051", false],
    ["localhost.evil.test:50051", false],
    ["dns://127.0.0.1/router.internal:50051", false],
    ["ipv4:127.0.0.1:50051,10.0.0.1:50051", false],
    ["xds:///router", false],
  ] as const) {
    if (stays) new Client(target, { token: "s3cret" }).close();
    else assert.throws(() => new Client(target, { token: "s3cret" }), /is not on this machine/, target);
  }
});

test("the service config without timeouts is the channel's", () => {
  assert.ok(!channelJson.includes('"timeout"'));
  assert.equal(timeoutsMs.get("/turnout.v1.RoutingService/Route"), 1_000);
  assert.equal(timeoutsMs.get("/turnout.v1.CompletionService/Complete"), 120_000);
});

test("the version is the package's", () => {
  assert.equal((JSON.parse(read("package.json")) as { version: string }).version, VERSION);
});

const alone = existsSync(new URL("../../pyproject.toml", PACKAGE)) ? false : "the package stands alone";

test("what is copied is the project's own", { skip: alone }, () => {
  assert.ok(read("../../pyproject.toml").includes(`\nversion = "${VERSION}"\n`));
  assert.deepEqual(SERVICE_CONFIG, JSON.parse(read("../service_config.json")));
  assert.equal(read("LICENSE"), read("../../LICENSE"));
});

test("the README shows the examples", () => {
  const shown = [...read("README.md").matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  assert.deepEqual(shown, [read("example/route.ts"), read("example/complete.ts")]);
});

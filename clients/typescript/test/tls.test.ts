/** Mutual TLS. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ServerCredentials } from "@grpc/grpc-js";

import { UnavailableError } from "../src/index.js";
import { open, serve } from "./fake.js";

test("mutual TLS carries the token", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "turnout-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")];
  const request =
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=router.test " +
    `-addext subjectAltName=DNS:router.test -keyout ${key} -out ${certificate}`;
  try {
    execFileSync("openssl", request.split(" "), { stdio: "ignore" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    t.skip("needs the openssl command");
    return;
  }
  const [privateKey, certificateChain] = [readFileSync(key), readFileSync(certificate)];
  const pair = { private_key: privateKey, cert_chain: certificateChain };
  const fake = await serve(t, ServerCredentials.createSsl(certificateChain, [pair], true));
  const trust = { rootCertificates: certificateChain, serverName: "router.test" };
  const client = open(t, fake.target, { tls: { ...trust, privateKey, certificateChain }, token: "s3cret" });
  assert.equal((await client.route("a")).tier, "mid");
  assert.deepEqual(fake.calls[0]?.metadata.get("authorization"), ["Bearer s3cret"]);
  await assert.rejects(open(t, fake.target, { tls: trust }).route("a"), UnavailableError);
});

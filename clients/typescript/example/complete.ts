import { Client, UnavailableError } from "@turnout-dev/client";

const client = new Client(process.env["TURNOUT_ADDRESS"] ?? "localhost:50051");
const caller = new AbortController();
try {
  const request = { prompt: "Plan a week in Rome.", caller: { tenant: "acme" } };
  for await (const { event } of client.completeStream(request, { signal: caller.signal, timeoutMs: 60_000 })) {
    if (event?.$case === "text") process.stdout.write(event.value.text);
    if (event?.$case === "finished") console.log(`\n${event.value.tier}: ${event.value.cost?.nanoUsd} nano-dollars`);
  }
} catch (error) {
  if (!(error instanceof UnavailableError)) throw error;
  console.log("no whole answer:", error.reason, error.causes);
}
client.close();

import { Client } from "@turnout-dev/client";

const client = new Client(process.env["TURNOUT_ADDRESS"] ?? "localhost:50051");
for (const prompt of ["What are your business hours?", "Prove that there are infinitely many primes."]) {
  const decision = await client.route(prompt);
  console.log("tier:      ", decision.tier);
  console.log("deployment:", decision.deployment);
  console.log("candidates:", decision.candidates);
  console.log("reasons:   ", decision.reasons);
}
client.close();

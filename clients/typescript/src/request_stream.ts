/** The requests of a stream, on their way. */

import { once } from "node:events";

import type { ClientDuplexStream } from "@grpc/grpc-js";

/**
 * Writes the requests until they end or the call does. Never rejects: what goes wrong with a request ends them, and is
 * the failure.
 */
export async function writeAll<Request, Question, Answer>(
  requests: AsyncIterable<Request> | Iterable<Request>,
  call: ClientDuplexStream<Question, Answer>,
  build: (request: Request) => Question,
): Promise<{ failure?: { error: unknown } }> {
  const gone = new AbortController();
  const leave = (): void => gone.abort();
  call.once("status", leave);
  try {
    for await (const request of requests) {
      if (gone.signal.aborted) return {};
      if (!call.write(build(request))) await once(call, "drain", { signal: gone.signal });
    }
    call.end();
    return {};
  } catch (error) {
    if (gone.signal.aborted) return {};
    call.end();
    return { failure: { error } };
  } finally {
    call.off("status", leave);
  }
}

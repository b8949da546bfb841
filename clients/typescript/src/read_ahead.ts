/** The answers of a stream, as they come. */

import type { ClientReadableStream } from "@grpc/grpc-js";

// More wait in gRPC, and the service with them.
const MOST_AHEAD = 4_096;

/**
 * Reads ahead of the loop that takes the answers. grpc-js drops what nobody has taken from it when a stream ends with an
 * error, and reads 16 messages ahead by itself.
 */
export async function* readAhead<Answer>(call: ClientReadableStream<Answer>): AsyncGenerator<Answer, void, undefined> {
  const answers: Answer[] = [];
  let ended = false;
  let failure: { error: unknown } | undefined;
  let wake = (): void => {};
  call.on("data", (answer: Answer) => {
    if (answers.push(answer) >= MOST_AHEAD) call.pause();
    wake();
  });
  call.on("end", () => {
    ended = true;
    wake();
  });
  call.on("error", (error) => {
    failure ??= { error };
    wake();
  });
  for (;;) {
    for (let answer = answers.shift(); answer !== undefined; answer = answers.shift()) {
      if (call.isPaused() && answers.length < MOST_AHEAD / 2) call.resume();
      yield answer;
    }
    if (failure !== undefined) throw failure.error;
    if (ended) return;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}

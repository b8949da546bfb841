/** The client. */

import * as grpc from "@grpc/grpc-js";

import { type Decision, fallBack, type Result, toDecision, toResult } from "./decision.js";
import { decodeError } from "./error_decoding.js";
import { ClientClosedError, InternalError, InvalidRequestError, TurnoutError } from "./errors.js";
import {
  type CompleteResponse,
  CompleteStreamRequest,
  type CompleteStreamResponse,
  CompletionServiceService as Completion,
  type OnCut,
  type StreamMode,
} from "./generated/turnout/v1/completion.js";
import { RouteStreamRequest, RoutingServiceService as Routing } from "./generated/turnout/v1/routing.js";
import { checkOptions, type ClientOptions, planChannel, planCredentials } from "./options.js";
import { readAhead } from "./read_ahead.js";
import { buildCompleteRequest, buildRequest, type CompleteLike, type RouteLike } from "./requests.js";
import { writeAll } from "./request_stream.js";
import { timeoutsMs } from "./service_config.js";
import { HEALTH_CHECK, HealthStatus } from "./wire.js";

/** Of one call. */
export interface CallOptions {
  /** Deadline in milliseconds; else the client's. */
  timeoutMs?: number | undefined;
  /** Cancels the call, which then throws the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Of one completion that comes as a stream. */
export interface StreamOptions extends CallOptions {
  /** When an answer is shown that gates may still reject. */
  mode?: StreamMode;
  /** What happens when an answer is cut after some of it was given. */
  onCut?: OnCut;
}

interface Method<Question, Answer> {
  path: string;
  requestSerialize(question: Question): Buffer;
  responseDeserialize(bytes: Buffer): Answer;
}

interface Cancellable {
  cancel(): void;
}

/**
 * Asks the service. Make one, keep it, close it at the end; it connects at the first call.
 *
 * Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to stay away;
 * streams and completions are not retried. What calls throw is a TurnoutError; a call of a closed client throws
 * ClientClosedError.
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #lanes: grpc.Client[] = [];
  readonly #metadata = new grpc.Metadata();
  readonly #calls = new Set<Cancellable>();
  readonly #failOpenCount = new Map<string, number>();
  #turn = 0;
  #closed = false;

  /**
   * @param target a gRPC target, such as "router.internal:50051" or "unix:/run/turnout.sock".
   * @throws RangeError an option breaks its limit.
   */
  constructor(target: string, options: ClientOptions = {}) {
    checkOptions(target, options);
    this.#options = options;
    if (options.token !== undefined) this.#metadata.set("authorization", `Bearer ${options.token}`);
    for (let i = 0; i < (options.connections ?? 1); i++) {
      this.#lanes.push(new grpc.Client(target, planCredentials(options), planChannel(options)));
    }
  }

  /** Asks which tier should answer a request. */
  async route(request: RouteLike, options: CallOptions = {}): Promise<Decision> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    return toDecision(await this.#ask(Routing.route, buildRequest(request), { ...options, timeoutMs }));
  }

  /**
   * As `route`, but fails open: without a decision the caller's default serves, with `fellBack` true, and the case is
   * counted. The deadline is 50 ms, if no other is given.
   *
   * @param defaultTier a tier's name, or what names one for the error.
   * @throws InvalidRequestError the request breaks the contract, which a default would hide.
   */
  async routeOr(
    defaultTier: string | ((error: TurnoutError) => string),
    request: RouteLike,
    options: CallOptions = {},
  ): Promise<Decision> {
    const timeoutMs = options.timeoutMs ?? this.#options.routeOrTimeoutMs ?? 50;
    try {
      return await this.route(request, { ...options, timeoutMs });
    } catch (error) {
      if (!(error instanceof TurnoutError) || error instanceof InvalidRequestError) throw error;
      this.#failOpenCount.set(error.label, (this.#failOpenCount.get(error.label) ?? 0) + 1);
      try {
        this.#options.onFailOpen?.(error);
      } catch {
        // A broken counter must not turn failing open into failing.
      }
      return fallBack(typeof defaultTier === "string" ? defaultTier : defaultTier(error), error);
    }
  }

  /** How often `routeOr` fell back, by `TurnoutError.label`; a copy. */
  get failOpenCount(): Record<string, number> {
    return Object.fromEntries(this.#failOpenCount);
  }

  /** Asks for many decisions in one call, at most 1,024; none at all make no call. Results are in the requests' order. */
  async routeBatch(requests: Iterable<RouteLike>, options: CallOptions = {}): Promise<Result[]> {
    const batch = { requests: [...requests].map(buildRequest) };
    if (batch.requests.length === 0) return [];
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    const { results } = await this.#ask(Routing.routeBatch, batch, { ...options, timeoutMs });
    if (results.length !== batch.requests.length) {
      const message = `${results.length} results for ${batch.requests.length} requests`;
      throw new InternalError(message, { code: grpc.status.INTERNAL });
    }
    return results.map(toResult);
  }

  /**
   * Asks for decisions as requests come, and gives their results in order. The call begins with the first `next`, and
   * ends with the last result or when the loop is left. It is not retried; its default deadline is an hour.
   *
   * The requests are read ahead of the results; what they throw is thrown here, after the results of what came before.
   */
  async *routeStream(
    requests: AsyncIterable<RouteLike> | Iterable<RouteLike>,
    options: CallOptions = {},
  ): AsyncGenerator<Result, void, undefined> {
    const { path, requestSerialize, responseDeserialize } = Routing.routeStream;
    const settings = this.#begin(path, options);
    const call = this.#next().makeBidiStreamRequest(path, requestSerialize, responseDeserialize, this.#metadata, settings);
    const written = writeAll(requests, call, (request) =>
      RouteStreamRequest.fromPartial({ request: buildRequest(request) }),
    );
    for await (const response of this.#read(call, options.signal)) yield toResult(response.result);
    // Of requests that go on after the service has ended the stream, nothing is awaited.
    const { failure } = await Promise.race([written, Promise.resolve({ failure: undefined })]);
    if (failure) throw failure.error;
  }

  /**
   * Has a request answered by the tier that is decided for it. The client retries nothing: the service has done what
   * helps, and the call is billed.
   */
  async complete(request: CompleteLike, options: CallOptions = {}): Promise<CompleteResponse> {
    return this.#ask(Completion.complete, buildCompleteRequest(request), options);
  }

  /**
   * Has a request answered, as the answer comes: `started` first; after `restarted` the deltas before it do not count;
   * `finished` last. The call begins with the first `next`; leaving the loop cancels it. The client retries nothing.
   *
   * @throws TurnoutError there is no whole answer, after a `failed` event where anything was asked upstream.
   */
  async *completeStream(
    request: CompleteLike,
    options: StreamOptions = {},
  ): AsyncGenerator<CompleteStreamResponse, void, undefined> {
    const { path, requestSerialize, responseDeserialize } = Completion.completeStream;
    const { mode = 0, onCut = 0 } = options;
    const question = CompleteStreamRequest.fromPartial({ request: buildCompleteRequest(request), mode, onCut });
    const settings = this.#begin(path, options);
    const call = this.#next().makeServerStreamRequest(
      path, requestSerialize, responseDeserialize, question, this.#metadata, settings,
    );
    yield* this.#read(call, options.signal);
  }

  /**
   * Asks each connection's server how it is, and so connects.
   *
   * @param service a service's full name; empty means the whole server.
   * @returns SERVING, or what the first other one says.
   */
  async checkHealth(service = "", options: CallOptions = {}): Promise<HealthStatus> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs;
    for (const lane of this.#lanes) {
      try {
        const status: HealthStatus = await this.#ask(HEALTH_CHECK, service, { ...options, timeoutMs }, lane);
        if (status !== HealthStatus.SERVING) return status;
      } catch (error) {
        if (!(error instanceof TurnoutError) || error.code !== grpc.status.NOT_FOUND) throw error;
        return HealthStatus.SERVICE_UNKNOWN;
      }
    }
    return HealthStatus.SERVING;
  }

  /** Ends calls in flight with CallCancelledError and disconnects. May be called again. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    for (const lane of this.#lanes) lane.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** What gRPC is told of a call that may begin. */
  #begin(path: string, { timeoutMs, signal }: CallOptions): grpc.CallOptions {
    if (this.#closed) throw new ClientClosedError();
    signal?.throwIfAborted();
    return { deadline: Date.now() + (timeoutMs ?? timeoutsMs.get(path) ?? 0) };
  }

  #next(): grpc.Client {
    this.#turn = (this.#turn + 1) % this.#lanes.length;
    return this.#lanes[this.#turn] as grpc.Client;
  }

  /** Makes the call cancellable, by the signal and by `close`, until the returned function is called. */
  #track(call: Cancellable, signal: AbortSignal | undefined): () => void {
    const cancel = (): void => call.cancel();
    this.#calls.add(call);
    signal?.addEventListener("abort", cancel, { once: true });
    return () => {
      this.#calls.delete(call);
      signal?.removeEventListener("abort", cancel);
    };
  }

  async #ask<Question, Answer>(
    method: Method<Question, Answer>,
    question: Question,
    options: CallOptions,
    lane = this.#next(),
  ): Promise<Answer> {
    const settings = this.#begin(method.path, options);
    const { path, requestSerialize, responseDeserialize } = method;
    return new Promise((resolve, reject) => {
      const ended = (error: grpc.ServiceError | null, answer?: Answer): void => {
        untrack();
        if (error === null) resolve(answer as Answer);
        else reject(options.signal?.aborted ? options.signal.reason : decodeError(error));
      };
      const call = lane.makeUnaryRequest(
        path, requestSerialize, responseDeserialize, question, this.#metadata, settings, ended,
      );
      const untrack = this.#track(call, options.signal);
    });
  }

  async *#read<Answer>(
    call: grpc.ClientReadableStream<Answer>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Answer, void, undefined> {
    const untrack = this.#track(call, signal);
    try {
      yield* readAhead(call);
    } catch (error) {
      throw signal?.aborted ? signal.reason : decodeError(error as grpc.ServiceError);
    } finally {
      untrack();
      call.cancel();
    }
  }
}

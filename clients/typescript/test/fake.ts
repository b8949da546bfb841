/** A service that answers as a test says, on a real loopback port. */

import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import type { TestContext } from "node:test";

import * as grpc from "@grpc/grpc-js";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

import { Client, type ClientOptions } from "../src/index.js";
import * as v1 from "../src/v1.js";

/** Longer than any step of a passing test takes. */
export const PATIENCE_MS = 30_000;

/** What the service saw of one attempt. */
export interface SeenCall {
  method: string;
  metadata: grpc.Metadata;
  remainingMs: number;
  peer: string;
}

type AnyCall = { metadata: grpc.Metadata; getDeadline(): grpc.Deadline; getPeer(): string };
type OnRoute = (
  request: v1.RouteRequest,
  call: grpc.ServerUnaryCall<v1.RouteRequest, v1.RouteResponse>,
) => Promise<v1.RouteResponse> | v1.RouteResponse;

export class Fake {
  readonly calls: SeenCall[] = [];
  readonly requests: v1.RouteRequest[] = [];
  readonly health = new Map<string, number>([["", 1]]);
  onRoute: OnRoute = answer;
  onBatch = (request: v1.RouteBatchRequest): v1.RouteBatchResponse => ({ results: request.requests.map(decided) });
  onStream = (call: grpc.ServerDuplexStream<v1.RouteStreamRequest, v1.RouteStreamResponse>): void => {
    call.on("data", (message: v1.RouteStreamRequest) => {
      call.write({ correlationId: message.correlationId, result: decided(v1.RouteRequest.fromPartial(message.request ?? {})) });
    });
    call.on("end", () => call.end());
  };
  onComplete: (call: grpc.ServerUnaryCall<v1.CompleteRequest, v1.CompleteResponse>) => void = () => {};
  onCompleteStream = (call: grpc.ServerWritableStream<v1.CompleteStreamRequest, v1.CompleteStreamResponse>): void => {
    call.end();
  };
  target = "";
  readonly server = new grpc.Server({ "grpc.max_receive_message_length": 64 << 20 });

  async start(credentials: grpc.ServerCredentials): Promise<void> {
    const routing: v1.RoutingServiceServer = {
      route: (call, callback) => {
        this.#see("route", call);
        this.requests.push(call.request);
        Promise.resolve()
          .then(() => this.onRoute(call.request, call))
          .then((response) => callback(null, response), callback);
      },
      routeBatch: (call, callback) => {
        this.#see("routeBatch", call);
        callback(null, this.onBatch(call.request));
      },
      routeStream: (call) => {
        this.#see("routeStream", call);
        this.onStream(call);
      },
    };
    const completion: v1.CompletionServiceServer = {
      complete: async (call, callback) => {
        this.#see("complete", call);
        try {
          await this.onComplete(call);
          callback(null, v1.CompleteResponse.fromPartial({ message: { content: "whole" } }));
        } catch (error) {
          callback(error as grpc.ServiceError);
        }
      },
      completeStream: (call) => {
        this.#see("completeStream", call);
        this.onCompleteStream(call);
      },
    };
    this.server.addService(v1.RoutingServiceService, routing);
    this.server.addService(v1.CompletionServiceService, completion);
    this.server.addService(
      {
        check: {
          path: "/grpc.health.v1.Health/Check",
          requestStream: false,
          responseStream: false,
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (status: number) => Buffer.from(new BinaryWriter().uint32(8).int32(status).finish()),
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      },
      {
        check: (call: grpc.ServerUnaryCall<Buffer, number>, callback: grpc.sendUnaryData<number>) => {
          this.#see("check", call);
          const reader = new BinaryReader(call.request);
          let service = "";
          while (reader.pos < reader.len) {
            reader.tag();
            service = reader.string();
          }
          const status = this.health.get(service);
          if (status === undefined) callback({ code: grpc.status.NOT_FOUND, details: "unknown service" });
          else callback(null, status);
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      this.server.bindAsync("127.0.0.1:0", credentials, (error, found) => (error ? reject(error) : resolve(found)));
    });
    this.target = `127.0.0.1:${port}`;
  }

  #see(method: string, call: AnyCall): void {
    const remainingMs = Number(call.getDeadline()) - Date.now();
    this.calls.push({ method, metadata: call.metadata, remainingMs, peer: call.getPeer() });
  }
}

/** A fake that serves until the test is over. */
export async function serve(
  t: TestContext,
  credentials: grpc.ServerCredentials = grpc.ServerCredentials.createInsecure(),
): Promise<Fake> {
  const fake = new Fake();
  await fake.start(credentials);
  t.after(() => fake.server.forceShutdown());
  return fake;
}

/** A client whose deadlines a busy machine does not reach, if the options say nothing else. */
export function open(t: TestContext, target: string, options: ClientOptions = {}): Client {
  const client = new Client(target, { timeoutMs: PATIENCE_MS, routeOrTimeoutMs: PATIENCE_MS, ...options });
  t.after(() => client.close());
  return client;
}

/** Its policy is the prompt, so that results can be told apart. */
export function answer(request: v1.RouteRequest): v1.RouteResponse {
  return v1.RouteResponse.fromPartial({
    decisionId: "0123456789abcdef0123456789abcdef",
    status: v1.DecisionStatus.DECISION_STATUS_DECIDED,
    tier: "mid",
    deployment: "mid-a",
    policy: request.prompt ?? "",
    decisionNs: 9_007_199_254_740_993n,
  });
}

export function decided(request: v1.RouteRequest): v1.RouteResult {
  return { result: { $case: "response", value: answer(request) } };
}

export function text(content: string): v1.CompleteStreamResponse {
  return { event: { $case: "text", value: { text: content, logprobs: [] } } };
}

/** Ends a call as the service does: with google.rpc.Status in its trailers. */
export function failure(
  code: grpc.status,
  details: Uint8Array[] = [],
  trailers: Record<string, string> = {},
): grpc.ServiceError {
  const status = new BinaryWriter().uint32(8).int32(code).uint32(18).string("for people");
  for (const detail of details) status.uint32(26).bytes(detail);
  const metadata = new grpc.Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(status.finish()));
  for (const [key, value] of Object.entries(trailers)) metadata.set(key, value);
  return Object.assign(new Error("for people"), { code, details: "for people", metadata });
}

/** A detail, packed as google.protobuf.Any. */
export function pack(type: string, value: Uint8Array): Uint8Array {
  return new BinaryWriter().uint32(10).string(`type.googleapis.com/${type}`).uint32(18).bytes(value).finish();
}

export function errorInfo(reason: string, metadata: Record<string, string> = {}, domain = "turnout.v1"): Uint8Array {
  const info = new BinaryWriter().uint32(10).string(reason).uint32(18).string(domain);
  for (const [key, value] of Object.entries(metadata)) {
    info.uint32(26).bytes(new BinaryWriter().uint32(10).string(key).uint32(18).string(value).finish());
  }
  return pack("google.rpc.ErrorInfo", info.finish());
}

/** Resolves once the caller has gone. */
export function gone(call: { on(event: "cancelled", listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => call.on("cancelled", resolve));
}

/** A port of loopback on which nothing listens. */
export async function freeTarget(): Promise<string> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return `127.0.0.1:${port}`;
}

export async function collect<T>(stream: AsyncIterable<T>, most = Number.POSITIVE_INFINITY): Promise<T[]> {
  const found: T[] = [];
  for await (const one of stream) if (found.push(one) >= most) break;
  return found;
}

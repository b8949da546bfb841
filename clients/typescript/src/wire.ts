/**
 * The few messages of other packages that the client reads and writes, field by field: google.rpc.Status with its details,
 * and the standard health check. Their numbers are fixed, and no package of a sensible size has them.
 */

import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

type Fields = Map<number, (Uint8Array | bigint)[]>;

const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** A detail of a status. */
export interface Detail {
  /** The message's full name. */
  type: string;
  value: Uint8Array;
}

/** The details of a google.rpc.Status. Throws where the bytes are none. */
export function readDetails(status: Uint8Array): Detail[] {
  return messages(readFields(status), 3).map((packed) => {
    const any = readFields(packed);
    return { type: text(any, 1).split("/").at(-1) ?? "", value: messages(any, 2)[0] ?? new Uint8Array() };
  });
}

/** A google.rpc.ErrorInfo. */
export function readErrorInfo(bytes: Uint8Array): { reason: string; domain: string; metadata: [string, string][] } {
  const info = readFields(bytes);
  const metadata = messages(info, 3).map(readFields);
  return {
    reason: text(info, 1),
    domain: text(info, 2),
    metadata: metadata.map((entry) => [text(entry, 1), text(entry, 2)]),
  };
}

/** The fields that a google.rpc.BadRequest finds at fault. */
export function readViolations(bytes: Uint8Array): string[] {
  return messages(readFields(bytes), 1).map((violation) => text(readFields(violation), 1));
}

/** The delay of a google.rpc.RetryInfo, in milliseconds; undefined where it has none. */
export function readRetryDelayMs(bytes: Uint8Array): number | undefined {
  const [delay] = messages(readFields(bytes), 1);
  if (delay === undefined) return undefined;
  const duration = readFields(delay);
  return Number(integer(duration, 1)) * 1000 + Number(integer(duration, 2)) / 1e6;
}

/** What a service says of itself; numbers of grpc.health.v1.HealthCheckResponse.ServingStatus. */
export enum HealthStatus {
  UNKNOWN = 0,
  SERVING = 1,
  NOT_SERVING = 2,
  SERVICE_UNKNOWN = 3,
}

/** grpc.health.v1.Health/Check, as a method's definition. */
export const HEALTH_CHECK = {
  path: "/grpc.health.v1.Health/Check",
  requestSerialize: (service: string): Buffer => Buffer.from(new BinaryWriter().uint32(10).string(service).finish()),
  responseDeserialize: (bytes: Buffer): number => Number(integer(readFields(bytes), 1)),
};

function readFields(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === VARINT || type === LENGTH_DELIMITED) {
      const value = type === VARINT ? BigInt(reader.int64()) : reader.bytes();
      fields.set(number, [...(fields.get(number) ?? []), value]);
    } else {
      reader.skip(type, number);
    }
  }
  return fields;
}

function messages(fields: Fields, number: number): Uint8Array[] {
  return (fields.get(number) ?? []).filter((value) => typeof value !== "bigint");
}

function text(fields: Fields, number: number): string {
  return new TextDecoder().decode(messages(fields, number).at(-1));
}

function integer(fields: Fields, number: number): bigint {
  const value = fields.get(number)?.at(-1);
  return typeof value === "bigint" ? value : 0n;
}

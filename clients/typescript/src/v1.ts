/** The contract's messages and enums, and gRPC's own stubs. */

export * from "./generated/turnout/v1/chat.js";
export * from "./generated/turnout/v1/completion.js";
export * from "./generated/turnout/v1/error_reason.js";
export * from "./generated/turnout/v1/routing.js";

/** The client of Turnout, which routes each LLM request to the cheapest tier that meets its quality bar. */

export { type CallOptions, Client, type StreamOptions } from "./client.js";
export type { Decision, Result } from "./decision.js";
export * from "./errors.js";
export type { ClientOptions, TlsOptions } from "./options.js";
export type { CompleteLike, Partly, RouteLike } from "./requests.js";
export { HealthStatus } from "./wire.js";
export { VERSION } from "./version.js";

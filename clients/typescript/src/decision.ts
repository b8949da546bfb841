/** Decisions, and the results of batches and streams. */

import { status } from "@grpc/grpc-js";

import { decodeItemError } from "./error_decoding.js";
import { TurnoutError } from "./errors.js";
import { DecisionStatus, ReasonKind, RouteResponse, type RouteResult, Strategy } from "./generated/turnout/v1/routing.js";

/**
 * Which tier and deployment should answer, and why. `fellBack` is true where the service gave no decision and `routeOr`
 * took the caller's default tier; all that is known then is the tier and one reason, of kind DEFAULT, that names the
 * failure.
 */
export type Decision = RouteResponse & { readonly fellBack: boolean };

/** For one request of a batch or stream its decision, or its error, which is not thrown. */
export type Result = Decision | TurnoutError;

export function toDecision(response: RouteResponse): Decision {
  return Object.assign(response, { fellBack: false });
}

/** The caller's default as a decision. */
export function fallBack(tier: string, error: TurnoutError): Decision {
  const response = RouteResponse.fromPartial({
    tier,
    status: DecisionStatus.DECISION_STATUS_DEFAULTED,
    strategy: Strategy.STRATEGY_SINGLE,
    reasons: [{ kind: ReasonKind.REASON_KIND_DEFAULT, id: error.label }],
    propensity: 1,
  });
  return Object.assign(response, { fellBack: true });
}

export function toResult(result: RouteResult | undefined): Result {
  switch (result?.result?.$case) {
    case "response":
      return toDecision(result.result.value);
    case "error":
      return decodeItemError(result.result.value);
    default:
      // A kind of result that a newer server knows.
      return new TurnoutError("a result of an unknown kind", { code: status.UNKNOWN });
  }
}

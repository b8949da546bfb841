package dev.turnout;

/** What a service says of itself: grpc.health.v1.HealthCheckResponse.ServingStatus. */
public enum HealthStatus {
  /** It does not say, or says what this client has no name for. */
  UNKNOWN,
  /** It serves. */
  SERVING,
  /** It drains, or is not warm yet. */
  NOT_SERVING,
  /** There is no such service. */
  SERVICE_UNKNOWN;

  static HealthStatus of(int number) {
    return number >= 0 && number < values().length ? values()[number] : UNKNOWN;
  }
}

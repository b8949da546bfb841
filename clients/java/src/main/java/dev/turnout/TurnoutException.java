package dev.turnout;

import dev.turnout.v1.CompleteFailure;
import io.grpc.Status;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A call failed. Thrown as itself where the status code is none that a class of its own stands for; none of the classes
 * holds the prompt.
 */
public class TurnoutException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  /** The reason of an error that came from gRPC or a proxy. */
  public static final String UNSPECIFIED = "UNSPECIFIED";

  private final ErrorDetails details;

  TurnoutException(ErrorDetails details, Throwable cause) {
    super(details.describe(), cause);
    this.details = details;
  }

  /** The gRPC status code. */
  public Status.Code code() {
    return details.code();
  }

  /**
   * The service's reason: a name of {@code turnout.v1.ErrorReason} without its prefix, or a newer service's own; {@link
   * #UNSPECIFIED} where the error came from gRPC or a proxy.
   */
  public String reason() {
    return details.reason();
  }

  /** A name to count by: the reason, or the status code's name where there is none. */
  public String label() {
    return details.label();
  }

  /** For people. */
  public String detail() {
    return details.message();
  }

  /** Of the reason, as {@code turnout/v1/error_reason.proto} lists it. */
  public Map<String, String> metadata() {
    return details.metadata();
  }

  /** When the service asks to come back; empty where it does not say. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(details.retryAfter());
  }

  /** What was done for a completion that failed; empty where nothing was asked upstream. */
  public Optional<CompleteFailure> failure() {
    return Optional.ofNullable(details.failure());
  }

  /**
   * Why no deployment could answer a completion: for each fault, such as {@code rate_limited}, how many attempts ended
   * so or deployments were closed for it. Empty where the service names none.
   */
  public Map<String, Integer> causes() {
    Map<String, Integer> causes = new LinkedHashMap<>();
    for (String part : metadata().getOrDefault("causes", "").split(",")) {
      String[] pair = part.strip().split("=", 2);
      if (pair.length == 2 && pair[1].matches("\\d{1,9}")) {
        causes.put(pair[0], Integer.valueOf(pair[1]));
      }
    }
    return causes;
  }
}

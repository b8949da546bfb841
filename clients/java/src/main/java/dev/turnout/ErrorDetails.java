package dev.turnout;

import dev.turnout.v1.CompleteFailure;
import io.grpc.Status;
import java.io.Serializable;
import java.time.Duration;
import java.util.Map;

/** What is known of a failed call; {@code retryAfter} and {@code failure} are null where the service does not say. */
record ErrorDetails(
    Status.Code code,
    String reason,
    String message,
    Map<String, String> metadata,
    Duration retryAfter,
    CompleteFailure failure)
    implements Serializable {
  ErrorDetails {
    metadata = Map.copyOf(metadata);
  }

  static ErrorDetails of(Status.Code code, String message) {
    return new ErrorDetails(code, TurnoutException.UNSPECIFIED, message, Map.of(), null, null);
  }

  String label() {
    return reason.equals(TurnoutException.UNSPECIFIED) ? code.name() : reason;
  }

  String describe() {
    String status = label().equals(code.name()) ? code.name() : code.name() + " (" + label() + ")";
    return message.isEmpty() ? status : status + ": " + message;
  }
}

package dev.turnout;

import dev.turnout.v1.RouteResponse;
import dev.turnout.v1.RouteResult;
import io.grpc.Status;
import java.util.Optional;

/** What became of one request: of a batch, of a stream, or of {@link TurnoutClient#routeOr}. */
public final class Outcome {
  private final RouteResponse decision;
  private final TurnoutException error;

  private Outcome(RouteResponse decision, TurnoutException error) {
    this.decision = decision;
    this.error = error;
  }

  static Outcome decided(RouteResponse decision) {
    return new Outcome(decision, null);
  }

  static Outcome fellBack(RouteResponse decision, TurnoutException error) {
    return new Outcome(decision, error);
  }

  static Outcome of(RouteResult result) {
    return switch (result.getResultCase()) {
      case RESPONSE -> new Outcome(result.getResponse(), null);
      case ERROR -> new Outcome(null, ErrorDecoding.decode(result.getError()));
      // A kind of result that a newer server knows.
      case RESULT_NOT_SET -> {
        ErrorDetails details = ErrorDetails.of(Status.Code.UNKNOWN, "a result of an unknown kind");
        yield new Outcome(null, new TurnoutException(details, null));
      }
    };
  }

  /**
   * The decision; where {@link #fellBack}, the caller's own.
   *
   * @throws TurnoutException there is none.
   */
  public RouteResponse decision() {
    if (decision == null) {
      throw error;
    }
    return decision;
  }

  /** Why the service gave no decision; empty where it did. */
  public Optional<TurnoutException> error() {
    return Optional.ofNullable(error);
  }

  /** Whether the decision is the caller's default, because the service gave none. */
  public boolean fellBack() {
    return decision != null && error != null;
  }
}

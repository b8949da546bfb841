package dev.turnout;

import dev.turnout.v1.DecisionStatus;
import dev.turnout.v1.Reason;
import dev.turnout.v1.ReasonKind;
import dev.turnout.v1.RouteResponse;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;

/** What {@code routeOr} answers when the service does not, and the count of it. */
final class FailOpen {
  private static final System.Logger LOGGER = System.getLogger("dev.turnout");

  private final Map<String, Long> counts = new ConcurrentHashMap<>();
  private final Consumer<TurnoutException> listener;

  FailOpen(Consumer<TurnoutException> listener) {
    this.listener = listener;
  }

  Map<String, Long> counts() {
    return Map.copyOf(counts);
  }

  /** The caller's default as an outcome. */
  Outcome decide(String tier, TurnoutException error) {
    counts.merge(error.label(), 1L, Long::sum);
    try {
      listener.accept(error);
    } catch (RuntimeException e) {
      // A broken listener must not turn failing open into failing. Its message may hold anything.
      LOGGER.log(System.Logger.Level.ERROR, "on_fail_open_failed: " + e.getClass().getName());
    }
    RouteResponse decision =
        RouteResponse.newBuilder()
            .setTier(tier)
            .setStatus(DecisionStatus.DECISION_STATUS_DEFAULTED)
            .addReasons(Reason.newBuilder().setKind(ReasonKind.REASON_KIND_DEFAULT).setId(error.label()))
            .build();
    return Outcome.fellBack(decision, error);
  }
}

package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.turnout.v1.CompleteStreamRequest;
import dev.turnout.v1.RouteRequest;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Nothing is left of many calls, of which two in three are left before their end. TURNOUT_LEAK_CALLS says how many. */
class LeakTest {
  private static final int CALLS = Integer.parseInt(System.getenv().getOrDefault("TURNOUT_LEAK_CALLS", "1000"));
  private static final int CONNECTIONS = 2;
  private static final Duration LONG = Duration.ofSeconds(60);

  private static long threadsOfGrpc() {
    return Thread.getAllStackTraces().keySet().stream().filter(one -> one.getName().startsWith("grpc-")).count();
  }

  @Test
  @Timeout(600)
  void nothingIsLeft() throws Exception {
    try (ScriptedService service = new ScriptedService()) {
      try (TurnoutClient client =
          TurnoutClient.builder(service.target()).connections(CONNECTIONS).timeout(LONG).build()) {
        RouteRequest slow = RouteRequest.newBuilder().setPrompt("p").setPolicy("slow").build();
        for (int i = 0; i < CALLS; i++) {
          switch (i % 3) {
            case 0 -> client.route("p");
            case 1 -> client.routeAsync(slow).cancel(false);
            default -> {
              try (var stream = client.completeStream(CompleteStreamRequest.getDefaultInstance())) {
                stream.next();
              }
            }
          }
        }
        Waiting.until(() -> service.callsInFlight.get() == 0);
        assertEquals(CONNECTIONS, service.connections.get());
      }
      Waiting.until(() -> service.connections.get() == 0);
    }
    // gRPC keeps its threads for a second, for another channel.
    Waiting.until(() -> threadsOfGrpc() == 0);
  }
}

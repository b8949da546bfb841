package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PackageTest {
  @Test
  void timeoutsAreDefaultsAndNoCeilings() {
    assertEquals(
        Map.of(
            "turnout.v1.RoutingService/Route", Duration.ofSeconds(1),
            "turnout.v1.RoutingService/RouteBatch", Duration.ofSeconds(5),
            "turnout.v1.RoutingService/RouteStream", Duration.ofHours(1),
            "turnout.v1.CompletionService/Complete", Duration.ofSeconds(120),
            "turnout.v1.CompletionService/CompleteStream", Duration.ofSeconds(600),
            "grpc.health.v1.Health/Check", Duration.ofSeconds(1)),
        ServiceConfig.SHARED.timeouts());
    assertFalse(ServiceConfig.SHARED.channel().toString().contains("timeout"));
    assertTrue(ServiceConfig.SHARED.channel().toString().contains("retryThrottling"));
  }

  @Test
  void theReadmeShowsTheExampleThatRuns() throws Exception {
    assertTrue(Files.readString(Path.of("README.md")).contains(Files.readString(Path.of("example/Example.java"))));
    assertTrue(
        Files.readString(Path.of("README.md"))
            .contains("<version>" + TurnoutClientBuilder.version() + "</version>"));
  }

  @Test
  void theVersionIsTheServers() throws Exception {
    String project = Files.readString(Path.of("../../pyproject.toml"));
    assertTrue(project.contains("\nversion = \"" + TurnoutClientBuilder.version() + "\"\n"));
  }
}

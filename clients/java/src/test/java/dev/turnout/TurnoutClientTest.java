package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.turnout.v1.CompleteStreamRequest;
import dev.turnout.v1.DecisionStatus;
import dev.turnout.v1.RouteRequest;
import dev.turnout.v1.Task;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.TlsServerCredentials;
import java.io.File;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(ScriptedService.PATIENCE_S)
class TurnoutClientTest {
  private static final Duration LONG = Duration.ofSeconds(20);

  private ScriptedService service;
  private TurnoutClient client;

  @BeforeEach
  void open() throws Exception {
    service = new ScriptedService();
    client = TurnoutClient.builder(service.target()).timeout(LONG).userAgent("shop/2.1").build();
  }

  @AfterEach
  void close() throws Exception {
    client.close();
    service.close();
  }

  private static RouteRequest request(String prompt, String policy) {
    return RouteRequest.newBuilder().setPrompt(prompt).setPolicy(policy).build();
  }

  private String header(String name) {
    return service.headers.get(0).get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
  }

  @Test
  void decides() {
    assertEquals("mid", client.route("hi").getTier());
    String expected = "turnout-java/" + TurnoutClientBuilder.version() + " shop/2.1 grpc-java";
    assertTrue(header("user-agent").startsWith(expected));
  }

  @Test
  void sendsItsToken() {
    try (TurnoutClient own = TurnoutClient.builder(service.target()).token("secret").timeout(LONG).build()) {
      own.route("hi");
    }
    assertEquals("Bearer secret", header("authorization"));
  }

  @Test
  void speaksTls(@TempDir Path scratch) throws Exception {
    File key = scratch.resolve("key.pem").toFile();
    File certificate = scratch.resolve("certificate.pem").toFile();
    String[] command = {
      "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
      "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key.getPath(), "-out", certificate.getPath()
    };
    ProcessBuilder making = new ProcessBuilder(command).redirectErrorStream(true);
    assertEquals(0, making.redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor());
    try (ScriptedService secure =
            new ScriptedService(TlsServerCredentials.create(certificate, key));
        TurnoutClient trusting =
            TurnoutClient.builder(secure.target())
                .credentials(TlsChannelCredentials.newBuilder().trustManager(certificate).build())
                .token("secret")
                .timeout(LONG)
                .build();
        TurnoutClient distrusting = TurnoutClient.builder(secure.target()).tls().timeout(LONG).build()) {
      assertEquals("mid", trusting.route("hi").getTier());
      assertThrows(UnavailableException.class, () -> distrusting.route("hi"));
    }
  }

  @Test
  void usesItsConnectionsInTurn() {
    try (TurnoutClient pool = TurnoutClient.builder(service.target()).connections(3).timeout(LONG).build()) {
      for (int i = 0; i < 6; i++) {
        pool.route("hi");
      }
    }
    assertEquals(3, service.peers.size());
  }

  @Test
  void takesWhatANewerServiceSays() {
    var decision = client.route(request("hi", "newer"));
    assertEquals("mid", decision.getTier());
    assertEquals(DecisionStatus.UNRECOGNIZED, decision.getStatus());
    assertEquals(99, decision.getStatusValue());
    assertEquals(Task.UNRECOGNIZED, decision.getTask());
  }

  @Test
  void failsOpenAndCounts() {
    List<String> told = new ArrayList<>();
    try (TurnoutClient own =
        TurnoutClient.builder(service.target())
            .routeOrTimeout(LONG)
            .onFailOpen(
                error -> {
                  told.add(error.label());
                  throw new IllegalStateException("a broken listener");
                })
            .build()) {
      Outcome decided = own.routeOr("frontier", request("hi", ""));
      assertFalse(decided.fellBack());
      Outcome one = own.routeOr("frontier", request("hi", "internal"));
      assertTrue(one.fellBack());
      assertEquals("frontier", one.decision().getTier());
      assertEquals(DecisionStatus.DECISION_STATUS_DEFAULTED, one.decision().getStatus());
      assertEquals("a1", ((InternalException) one.error().orElseThrow()).incident());
      own.routeOr("frontier", request("hi", "slow"), Duration.ofMillis(20));
      assertEquals(Map.of("INTERNAL", 1L, "DEADLINE_EXCEEDED", 1L), own.failOpenCounts());
      assertThrows(InvalidRequestException.class, () -> own.routeOr("frontier", request("hi", "invalid")));
    }
    assertEquals(List.of("INTERNAL", "DEADLINE_EXCEEDED"), told);
  }

  @Test
  void failsOpenWhereNobodyListens() throws Exception {
    service.close();
    assertTrue(client.routeOr("frontier", request("hi", ""), LONG).fellBack());
    assertEquals(Map.of("UNAVAILABLE", 1L), client.failOpenCounts());
  }

  @Test
  void retriesEndWhereTheServiceStaysAway() {
    for (int i = 0; i < 100; i++) {
      assertThrows(UnavailableException.class, () -> client.route(request("hi", "down")));
    }
    // Half of 100 tokens are spent by the first 50 attempts, of which 37 or so are retries.
    assertEquals(137, service.headers.size(), 5);
  }

  @Test
  void aBatchKeepsItsOrder() {
    List<RouteRequest> requests = List.of(request("a", ""), request("b", ""));
    assertEquals(
        List.of("a", "b"), client.routeBatch(requests).stream().map(one -> one.decision().getPolicy()).toList());
    assertEquals(List.of(), client.routeBatch(List.of()));
    assertThrows(
        InternalException.class, () -> client.routeBatch(List.of(request("a", "too-few"), request("b", ""))));
  }

  @Test
  void aStreamAnswersAsRequestsCome() throws Exception {
    try (RouteStream stream = client.routeStream()) {
      for (int i = 0; i < 100; i++) {
        assertTrue(stream.send(request("p" + i, "")));
        assertEquals("p" + i, stream.next().decision().getPolicy());
      }
      stream.finish();
      assertFalse(stream.hasNext());
      assertFalse(stream.hasNext());
    }
  }

  @Test
  void aStreamIsOneOfJavas() {
    try (var texts = client.completeStream(CompleteStreamRequest.getDefaultInstance()).stream()) {
      assertEquals(List.of(4096, 4096), texts.limit(2).map(event -> event.getText().getText().length()).toList());
    }
  }

  @Test
  void aStreamThatTheServiceEndsTakesNoMore() throws Exception {
    try (RouteStream stream = client.routeStream()) {
      stream.send(request("p", "end"));
      assertThrows(UnavailableException.class, stream::hasNext);
      assertFalse(stream.send(request("p", "")));
      stream.finish();
    }
  }

  @Test
  void sendingWaitsForRoomAndEndsWithTheStream() throws Exception {
    RouteStream stream = client.routeStream();
    String big = "x".repeat(100_000);
    CompletableFuture<Boolean> sending =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                // Nobody reads, so there is room for some only.
                while (stream.send(request(big, ""))) {}
                return true;
              } catch (InterruptedException e) {
                return false;
              }
            });
    stream.next();
    stream.close();
    assertTrue(sending.get(ScriptedService.PATIENCE_S, TimeUnit.SECONDS));
  }

  @Test
  void closingAStreamEndsItAtBothEnds() throws Exception {
    var stream = client.completeStream(CompleteStreamRequest.getDefaultInstance());
    stream.next();
    stream.close();
    stream.close();
    assertThrows(
        CallCancelledException.class,
        () -> {
          while (stream.hasNext()) {
            stream.next();
          }
        });
    Waiting.until(() -> service.callsInFlight.get() == 0);
  }

  @Test
  void interruptingTheReaderCancels() throws Exception {
    RouteStream stream = client.routeStream();
    Thread.currentThread().interrupt();
    assertThrows(CallCancelledException.class, stream::hasNext);
    assertTrue(Thread.interrupted());
    Thread.currentThread().interrupt();
    assertThrows(CallCancelledException.class, () -> client.route(request("hi", "slow")));
    assertTrue(Thread.interrupted());
    Waiting.until(() -> service.callsInFlight.get() == 0);
  }

  @Test
  void cancellingTheFutureCancelsTheCall() throws Exception {
    var answer = client.routeAsync(request("hi", "slow"));
    Waiting.until(() -> service.callsInFlight.get() == 1);
    answer.cancel(false);
    Waiting.until(() -> service.callsInFlight.get() == 0);
  }

  @Test
  void closingEndsCallsInFlight() throws Exception {
    var answer = client.routeAsync(request("hi", "slow"));
    Waiting.until(() -> service.callsInFlight.get() == 1);
    client.close();
    client.close();
    var failed = assertThrows(CompletionException.class, answer::join);
    assertInstanceOf(CallCancelledException.class, failed.getCause());
    assertThrows(IllegalStateException.class, () -> client.route("hi"));
    assertThrows(IllegalStateException.class, () -> client.routeOr("mid", request("hi", "")));
  }

  @Test
  void refusesWhatBreaksALimit() {
    var builder = TurnoutClient.builder("localhost:1");
    assertThrows(IllegalArgumentException.class, () -> builder.connections(0));
    assertThrows(IllegalArgumentException.class, () -> builder.connections(257));
    assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> builder.userAgent("a\n"));
    assertThrows(IllegalArgumentException.class, () -> client.route(request("hi", ""), Duration.ofSeconds(-1)));
  }

  @Test
  void aRequestThatIsTooLargeIsTheCallersFault() {
    var error = assertThrows(InvalidRequestException.class, () -> client.route("x".repeat((16 << 20) + 1)));
    assertEquals("16777216 bytes", error.limit());
    try (RouteStream stream = client.routeStream()) {
      assertThrows(InvalidRequestException.class, () -> stream.send(request("x".repeat((16 << 20) + 1), "")));
    }
  }
}

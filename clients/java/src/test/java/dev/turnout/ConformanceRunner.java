package dev.turnout;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.protobuf.MessageLite;
import dev.turnout.v1.CompleteRequest;
import dev.turnout.v1.CompleteStreamRequest;
import dev.turnout.v1.RouteRequest;
import dev.turnout.v1.RouteResponse;
import io.grpc.Status;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** Runs the cases of tests/conformance through this client; its README has the forms of what is read and written. */
public final class ConformanceRunner {
  // "response": null says something that an absent key does not.
  private static final Gson GSON = new GsonBuilder().serializeNulls().create();

  private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
  private final JsonObject given;
  private final JsonObject outcome = new JsonObject();
  private final Optional<Duration> timeout;

  private ConformanceRunner(JsonObject given) {
    this.given = given;
    this.timeout = seconds("timeout_s");
  }

  /** One argument: the path of cases.json. */
  public static void main(String[] arguments) throws Exception {
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    JsonObject document = GSON.fromJson(Files.readString(Path.of(arguments[0])), JsonObject.class);
    for (JsonElement given : document.getAsJsonArray("cases")) {
      JsonObject result = new JsonObject();
      result.add("id", given.getAsJsonObject().get("id"));
      result.add("outcome", new ConformanceRunner(given.getAsJsonObject()).run());
      out.println(GSON.toJson(result));
    }
  }

  private JsonObject run() throws Exception {
    int connections = given.has("connections") ? given.get("connections").getAsInt() : 1;
    try (TurnoutClient client =
        TurnoutClient.builder(given.get("address").getAsString()).connections(connections).build()) {
      try {
        call(client);
      } catch (TurnoutException error) {
        outcome.add("error", form(error));
      }
      outcome.addProperty(
          "failed_open", client.failOpenCounts().values().stream().mapToLong(Long::longValue).sum());
    } finally {
      timer.shutdownNow();
    }
    return outcome;
  }

  private void call(TurnoutClient client) throws Exception {
    switch (given.get("operation").getAsString()) {
      case "route" -> {
        CompletableFuture<RouteResponse> answer =
            timeout.isPresent()
                ? client.routeAsync(route(0), timeout.get())
                : client.routeAsync(route(0));
        cancelAfter(() -> answer.cancel(false));
        outcome.add("response", form(join(answer)));
      }
      case "route_or" -> {
        String tier = given.get("default_tier").getAsString();
        Outcome one =
            timeout.isPresent() ? client.routeOr(tier, route(0), timeout.get()) : client.routeOr(tier, route(0));
        outcome.addProperty("tier", one.decision().getTier());
        outcome.addProperty("fell_back", one.fellBack());
        outcome.add("response", one.fellBack() ? null : form(one.decision()));
      }
      case "route_batch" -> {
        List<RouteRequest> requests = routes();
        List<Outcome> results =
            timeout.isPresent() ? client.routeBatch(requests, timeout.get()) : client.routeBatch(requests);
        JsonArray forms = new JsonArray();
        results.forEach(one -> forms.add(form(one)));
        outcome.add("results", forms);
      }
      case "route_stream" -> {
        try (RouteStream stream = timeout.isPresent() ? client.routeStream(timeout.get()) : client.routeStream()) {
          for (RouteRequest request : routes()) {
            stream.send(request);
          }
          stream.finish();
          collect(stream, "results", ConformanceRunner::form);
        }
      }
      case "complete" -> {
        CompleteRequest request = CompleteRequest.parseFrom(bytes(0));
        outcome.add(
            "response",
            form(timeout.isPresent() ? client.complete(request, timeout.get()) : client.complete(request)));
      }
      case "complete_stream" -> {
        CompleteStreamRequest request = CompleteStreamRequest.parseFrom(bytes(0));
        try (var stream =
            timeout.isPresent() ? client.completeStream(request, timeout.get()) : client.completeStream(request)) {
          collect(stream, "events", ConformanceRunner::form);
        }
      }
      case "check_health" -> outcome.addProperty("health", client.checkHealth().name());
      default -> throw new IllegalArgumentException("operation: " + given.get("operation"));
    }
  }

  private <T> void collect(ResponseStream<T> stream, String key, Function<T, JsonObject> form) {
    int most = given.has("cancel_after_events") ? given.get("cancel_after_events").getAsInt() : Integer.MAX_VALUE;
    cancelAfter(stream::close);
    JsonArray forms = new JsonArray();
    outcome.add(key, forms);
    while (forms.size() < most && stream.hasNext()) {
      forms.add(form.apply(stream.next()));
    }
  }

  private void cancelAfter(Runnable cancel) {
    seconds("cancel_after_s").ifPresent(after -> timer.schedule(cancel, after.toNanos(), TimeUnit.NANOSECONDS));
  }

  /** Java's futures have a word of their own for the caller's cancellation. */
  private static <T> T join(CompletableFuture<T> answer) {
    try {
      return answer.join();
    } catch (CancellationException e) {
      throw ErrorDecoding.classify(ErrorDetails.of(Status.Code.CANCELLED, "the future was cancelled"), e);
    } catch (CompletionException e) {
      throw (TurnoutException) e.getCause();
    }
  }

  private Optional<Duration> seconds(String key) {
    return given.has(key)
        ? Optional.of(Duration.ofNanos(Math.round(given.get(key).getAsDouble() * 1e9)))
        : Optional.empty();
  }

  private byte[] bytes(int at) {
    JsonObject request = given.getAsJsonArray("requests").get(at).getAsJsonObject();
    return Base64.getDecoder().decode(request.get("base64").getAsString());
  }

  private RouteRequest route(int at) throws IOException {
    return RouteRequest.parseFrom(bytes(at));
  }

  private List<RouteRequest> routes() throws IOException {
    List<RouteRequest> requests = new ArrayList<>();
    for (int at = 0; at < given.getAsJsonArray("requests").size(); at++) {
      requests.add(route(at));
    }
    return requests;
  }

  private static JsonObject form(MessageLite message) {
    JsonObject form = new JsonObject();
    form.addProperty("base64", Base64.getEncoder().encodeToString(message.toByteArray()));
    return form;
  }

  private static JsonObject form(Outcome one) {
    JsonObject form = new JsonObject();
    if (one.error().isPresent()) {
      form.add("error", form(one.error().get()));
    } else {
      form.add("response", form(one.decision()));
    }
    return form;
  }

  private static JsonObject form(TurnoutException error) {
    JsonObject form = new JsonObject();
    form.addProperty("kind", kind(error));
    form.addProperty("code", error.code().name());
    form.addProperty("reason", error.reason());
    form.addProperty("field", error.metadata().getOrDefault("field", ""));
    form.add("metadata", GSON.toJsonTree(error.metadata()));
    form.addProperty("retry_after_s", error.retryAfter().map(after -> after.toNanos() / 1e9).orElse(null));
    return form;
  }

  private static String kind(TurnoutException error) {
    if (error.getClass() == TurnoutException.class) {
      return "other";
    }
    // InvalidRequestException is "invalid_request"; the table shortens one name.
    String name = error.getClass().getSimpleName().replace("Exception", "").replace("CallCancelled", "Cancelled");
    return name.replaceAll("(?<=[a-z])(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
  }
}

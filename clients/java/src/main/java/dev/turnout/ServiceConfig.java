package dev.turnout;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * The service config that the clients of all languages share: retries, throttling, default deadlines.
 *
 * <p>gRPC takes a {@code timeout} of the service config as a ceiling of the caller's own deadline. Here it is a default,
 * so the timeouts are read from the file and left out of what the channel is given.
 *
 * @param channel retry policies and throttling, as gRPC's channels take them.
 * @param timeouts default deadline of each method, by "service/method".
 */
record ServiceConfig(Map<String, ?> channel, Map<String, Duration> timeouts) {
  static final ServiceConfig SHARED = load();

  Duration timeout(String method) {
    return timeouts.get(method);
  }

  @SuppressWarnings("unchecked")
  private static ServiceConfig load() {
    Gson gson = new Gson();
    JsonObject document;
    try (Reader reader =
        new InputStreamReader(
            ServiceConfig.class.getResourceAsStream("service_config.json"), StandardCharsets.UTF_8)) {
      document = gson.fromJson(reader, JsonObject.class);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Map<String, Duration> timeouts = new HashMap<>();
    JsonArray kept = new JsonArray();
    for (JsonElement element : document.getAsJsonArray("methodConfig")) {
      JsonObject method = element.getAsJsonObject();
      // "1s" and "0.5s" are what ISO 8601 writes after "PT".
      Duration timeout = Duration.parse("PT" + method.remove("timeout").getAsString());
      for (JsonElement name : method.getAsJsonArray("name")) {
        JsonObject parts = name.getAsJsonObject();
        timeouts.put(parts.get("service").getAsString() + "/" + parts.get("method").getAsString(), timeout);
      }
      kept.add(method);
    }
    document.add("methodConfig", kept);
    return new ServiceConfig(gson.fromJson(document, Map.class), Map.copyOf(timeouts));
  }
}

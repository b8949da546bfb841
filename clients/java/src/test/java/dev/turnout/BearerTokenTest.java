package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BearerTokenTest {
  @ParameterizedTest
  @ValueSource(
      strings = {
        "localhost", "localhost:1", "dns:///localhost:1", "127.0.0.1:1", "127.1.2.3", "[::1]:1", "::1", "unix:/run/a"
      })
  void staysOnThisMachine(String target) {
    assertEquals("Bearer t", BearerToken.header("t", target, false));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "router.internal:1", "127.0.0.1.example.com", "localhost.example.com:1", "10.0.0.1", "[::2]:1", "dns:///a", ""
      })
  void needsCredentialsElsewhere(String target) {
    assertThrows(IllegalArgumentException.class, () -> BearerToken.header("t", target, false));
    assertEquals("Bearer t", BearerToken.header("t", target, true));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a b", "a\n", "é"})
  void isAHeaderValueAndNotShown(String token) {
    var error = assertThrows(IllegalArgumentException.class, () -> BearerToken.header(token, "localhost", true));
    assertFalse(error.getMessage().contains("é"));
  }

  @Test
  void theBuilderRefusesIt() {
    assertThrows(IllegalArgumentException.class, () -> TurnoutClient.builder("router.internal:1").token("t").build());
    assertTrue(BearerToken.staysOnMachine("localhost:50051"));
  }
}

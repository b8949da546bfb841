package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** For what comes about in other threads. */
final class Waiting {
  private Waiting() {}

  static void until(BooleanSupplier holds) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(ScriptedService.PATIENCE_S);
    while (!holds.getAsBoolean() && System.nanoTime() < end) {
      Thread.sleep(2);
    }
    assertTrue(holds.getAsBoolean());
  }
}

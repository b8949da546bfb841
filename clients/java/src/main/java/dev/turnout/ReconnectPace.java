package dev.turnout;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;

/**
 * How often a client that cannot reach its service tries to connect: every 5 seconds at least, while calls fail. gRPC's
 * own ceiling of 120 seconds, which it lets nobody set, would keep clients away for two minutes after an outage.
 */
final class ReconnectPace {
  private static final long CEILING_NS = TimeUnit.SECONDS.toNanos(5);

  private final LongSupplier clockNs;
  private final AtomicLong lastNs;

  ReconnectPace(LongSupplier clockNs) {
    this.clockNs = clockNs;
    this.lastNs = new AtomicLong(clockNs.getAsLong());
  }

  /** Whether gRPC's waiting shall be cut short now; true once in each 5 seconds. */
  boolean isDue() {
    long nowNs = clockNs.getAsLong();
    long beforeNs = lastNs.get();
    return nowNs - beforeNs >= CEILING_NS && lastNs.compareAndSet(beforeNs, nowNs);
  }
}

package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ReconnectPaceTest {
  @Test
  void isDueOnceInFiveSeconds() {
    // A clock of nanoseconds may begin anywhere, and overflow.
    AtomicLong nowNs = new AtomicLong(Long.MAX_VALUE - 1);
    ReconnectPace pace = new ReconnectPace(nowNs::get);
    assertFalse(pace.isDue());
    nowNs.addAndGet(TimeUnit.SECONDS.toNanos(5) - 1);
    assertFalse(pace.isDue());
    nowNs.incrementAndGet();
    assertTrue(pace.isDue());
    assertFalse(pace.isDue());
    nowNs.addAndGet(TimeUnit.SECONDS.toNanos(60));
    assertTrue(pace.isDue());
    assertFalse(pace.isDue());
  }
}

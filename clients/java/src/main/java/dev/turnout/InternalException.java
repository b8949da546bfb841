package dev.turnout;

/** A defect of the service (INTERNAL, UNKNOWN, DATA_LOSS). */
public final class InternalException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  InternalException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }

  /** The name under which the cause is in the service's log; empty where it gives none. */
  public String incident() {
    return metadata().getOrDefault("incident", "");
  }
}

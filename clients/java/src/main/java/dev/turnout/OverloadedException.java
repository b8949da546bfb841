package dev.turnout;

/** The service, or something before it, is at its limit (RESOURCE_EXHAUSTED). See {@link #retryAfter}. */
public final class OverloadedException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  OverloadedException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }
}

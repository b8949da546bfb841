package dev.turnout;

/** The service cannot be reached, drains or is not warm yet, or no deployment could answer (UNAVAILABLE). */
public final class UnavailableException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  UnavailableException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }
}

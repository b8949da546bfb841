package dev.turnout;

/** No credentials, or credentials that do not suffice (UNAUTHENTICATED, PERMISSION_DENIED). */
public final class AccessDeniedException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  AccessDeniedException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }
}

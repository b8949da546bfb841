package dev.turnout;

/** The call was cancelled: by the caller, by closing the client, or by the service (CANCELLED). */
public final class CallCancelledException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  CallCancelledException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }
}

package dev.turnout;

/** The deadline passed before there was an answer (DEADLINE_EXCEEDED). */
public final class DeadlineExceededException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  DeadlineExceededException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }
}

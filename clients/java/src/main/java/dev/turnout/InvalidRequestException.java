package dev.turnout;

/** The request breaks the contract, or its message is too large: asking again does not help. */
public final class InvalidRequestException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  InvalidRequestException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }

  /** The field at fault, such as {@code constraints.min_tier} or {@code messages[3].role}; empty if none is. */
  public String field() {
    return metadata().getOrDefault("field", "");
  }

  /** What was given, shortened; empty where it is the caller's text. */
  public String value() {
    return metadata().getOrDefault("value", "");
  }

  /** What is allowed; empty where there is no such thing. */
  public String limit() {
    return metadata().getOrDefault("limit", "");
  }
}

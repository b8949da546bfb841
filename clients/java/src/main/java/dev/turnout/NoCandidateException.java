package dev.turnout;

/** The constraints leave no deployment that could serve (FAILED_PRECONDITION). */
public final class NoCandidateException extends TurnoutException {
  private static final long serialVersionUID = 1L;

  NoCandidateException(ErrorDetails details, Throwable cause) {
    super(details, cause);
  }

  /** The constraint that removed the last candidate, such as region or cost; empty where the service does not say. */
  public String constraint() {
    return metadata().getOrDefault("constraint", "");
  }
}

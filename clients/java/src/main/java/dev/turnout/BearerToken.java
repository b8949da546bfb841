package dev.turnout;

import java.util.regex.Pattern;

/** The bearer token: a header of every call, and never in clear text beyond this machine. */
final class BearerToken {
  private static final Pattern VISIBLE = Pattern.compile("[!-~]+");
  private static final Pattern LOOPBACK =
      Pattern.compile("localhost(:\\d+)?|127(\\.\\d{1,3}){3}(:\\d+)?|::1|\\[::1\\](:\\d+)?");

  private BearerToken() {}

  /**
   * The value of the header.
   *
   * @throws IllegalArgumentException the token would cross a network in clear text, or is no header value; it is not
   *     shown.
   */
  static String header(String token, String target, boolean encrypted) {
    if (!VISIBLE.matcher(token).matches()) {
      throw new IllegalArgumentException("token: printable ASCII without spaces is needed");
    }
    if (!encrypted && !staysOnMachine(target)) {
      throw new IllegalArgumentException("token: " + target + " is not on this machine, so credentials are needed");
    }
    return "Bearer " + token;
  }

  /** Whether a gRPC target is a Unix socket or one loopback address; false in doubt. */
  static boolean staysOnMachine(String target) {
    if (target.startsWith("unix:")) {
      return true;
    }
    String host = target.substring(target.lastIndexOf('/') + 1).replaceFirst("^dns:", "");
    return LOOPBACK.matcher(host).matches();
  }
}

package dev.turnout;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.MessageLite;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.turnout.v1.CompleteFailure;
import dev.turnout.v1.ErrorReason;
import dev.turnout.v1.RouteError;
import io.grpc.Metadata;
import io.grpc.Status;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** From what arrives on the wire to exceptions. Nothing that a peer may send makes this throw. */
final class ErrorDecoding {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);
  private static final String DOMAIN = "turnout.v1";
  private static final String REASON_PREFIX = "ERROR_REASON_";
  // The words of gRPC, and its only sign, for a message beyond the service's limit, and beyond this client's.
  private static final Pattern REQUEST_TOO_LARGE =
      Pattern.compile("Received message larger than max \\((\\d+) vs\\. (\\d+)\\)");

  private static final String ANSWER_TOO_LARGE = "message exceeds maximum size";

  private ErrorDecoding() {}

  /** The exception of a failed RPC: by the google.rpc.Status in its trailers, else by code and message alone. */
  static TurnoutException decode(Status status, Metadata trailers, Throwable cause) {
    String reason = null;
    Map<String, String> metadata = new HashMap<>();
    Duration retryAfter = null;
    CompleteFailure failure = null;
    for (Any detail : read(trailers)) {
      try {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          // Another domain's reasons are not ours, whatever their names.
          if (info.getDomain().equals(DOMAIN)) {
            reason = info.getReason().isEmpty() ? TurnoutException.UNSPECIFIED : info.getReason();
            metadata.putAll(info.getMetadataMap());
          }
        } else if (detail.is(BadRequest.class)) {
          for (BadRequest.FieldViolation violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            metadata.putIfAbsent("field", violation.getField());
          }
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds()).plusNanos(delay.getNanos());
        } else if (detail.is(CompleteFailure.class)) {
          failure = detail.unpack(CompleteFailure.class);
        }
      } catch (InvalidProtocolBufferException | ArithmeticException e) {
        // A garbled detail says nothing; the code and the other details still do.
        continue;
      }
    }
    String message = status.getDescription() == null ? "" : status.getDescription();
    if (reason == null && status.getCode() == Status.Code.RESOURCE_EXHAUSTED) {
      Matcher found = REQUEST_TOO_LARGE.matcher(message);
      if (found.find()) {
        return tooLarge(message, found.group(1), found.group(2), cause);
      }
      if (message.contains(ANSWER_TOO_LARGE)) {
        return new TurnoutException(ErrorDetails.of(status.getCode(), message), cause);
      }
    }
    if (reason == null) {
      reason = TurnoutException.UNSPECIFIED;
    }
    return classify(new ErrorDetails(status.getCode(), reason, message, metadata, retryAfter, failure), cause);
  }

  /**
   * Refuses what gRPC would not send.
   *
   * @throws InvalidRequestException the message is larger than the client's limit.
   */
  static void checkSize(MessageLite message) {
    int size = message.getSerializedSize();
    int limit = TurnoutClientBuilder.MAX_MESSAGE_BYTES;
    if (size > limit) {
      String words = "a message of " + size + " bytes breaks the limit: " + limit + " bytes";
      throw tooLarge(words, Integer.toString(size), Integer.toString(limit), null);
    }
  }

  private static InvalidRequestException tooLarge(String message, String bytes, String limit, Throwable cause) {
    Map<String, String> metadata = Map.of("value", bytes + " bytes", "limit", limit + " bytes");
    Status.Code code = Status.Code.RESOURCE_EXHAUSTED;
    return new InvalidRequestException(
        new ErrorDetails(code, TurnoutException.UNSPECIFIED, message, metadata, null, null), cause);
  }

  /** The exception of one item of a batch or stream. */
  static TurnoutException decode(RouteError error) {
    ErrorReason known = error.getReason();
    // Of a newer server's reason an item has the number only.
    String reason =
        known == ErrorReason.UNRECOGNIZED
            ? "UNKNOWN_" + error.getReasonValue()
            : known.name().substring(REASON_PREFIX.length());
    Map<String, String> metadata = error.getField().isEmpty() ? Map.of() : Map.of("field", error.getField());
    Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
    return classify(new ErrorDetails(code, reason, error.getMessage(), metadata, null, null), null);
  }

  /** By the reason where that has a class, else by the code, so that new reasons break nothing. */
  static TurnoutException classify(ErrorDetails details, Throwable cause) {
    if (details.reason().equals("NO_CANDIDATE")) {
      return new NoCandidateException(details, cause);
    }
    return switch (details.code()) {
      case INVALID_ARGUMENT -> new InvalidRequestException(details, cause);
      case RESOURCE_EXHAUSTED -> new OverloadedException(details, cause);
      case UNAVAILABLE -> new UnavailableException(details, cause);
      case DEADLINE_EXCEEDED -> new DeadlineExceededException(details, cause);
      case CANCELLED -> new CallCancelledException(details, cause);
      case UNAUTHENTICATED, PERMISSION_DENIED -> new AccessDeniedException(details, cause);
      case INTERNAL, UNKNOWN, DATA_LOSS -> new InternalException(details, cause);
      default -> new TurnoutException(details, cause);
    };
  }

  private static Iterable<Any> read(Metadata trailers) {
    byte[] bytes = trailers == null ? null : trailers.get(DETAILS);
    if (bytes == null) {
      return List.of();
    }
    try {
      return com.google.rpc.Status.parseFrom(bytes).getDetailsList();
    } catch (InvalidProtocolBufferException e) {
      return List.of();
    }
  }
}

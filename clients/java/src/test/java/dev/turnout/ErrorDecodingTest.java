package dev.turnout;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.turnout.v1.CompleteFailure;
import dev.turnout.v1.RouteError;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ErrorDecodingTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private static TurnoutException decode(Status status, Message... details) {
    com.google.rpc.Status.Builder packed = com.google.rpc.Status.newBuilder();
    for (Message detail : details) {
      packed.addDetails(detail instanceof Any any ? any : Any.pack(detail));
    }
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, packed.build().toByteArray());
    return ErrorDecoding.decode(status, trailers, null);
  }

  private static ErrorInfo info(String reason) {
    return ErrorInfo.newBuilder().setDomain("turnout.v1").setReason(reason).build();
  }

  @Test
  void anInvalidRequestNamesItsField() {
    ErrorInfo info =
        info("UNKNOWN_TIER").toBuilder()
            .putMetadata("field", "constraints.min_tier")
            .putMetadata("value", "huge")
            .build();
    var decoded = decode(Status.INVALID_ARGUMENT.withDescription("words"), info);
    var error = assertInstanceOf(InvalidRequestException.class, decoded);
    assertEquals("constraints.min_tier", error.field());
    assertEquals("huge", error.value());
    assertEquals("", error.limit());
    assertEquals("INVALID_ARGUMENT (UNKNOWN_TIER): words", error.getMessage());
  }

  @Test
  void theFieldOfABadRequestServesWhereTheReasonNamesNone() {
    var violation = BadRequest.FieldViolation.newBuilder().setField("policy");
    BadRequest bad = BadRequest.newBuilder().addFieldViolations(violation).build();
    var error = decode(Status.INVALID_ARGUMENT, info("INVALID_FIELD"), bad);
    assertEquals("policy", ((InvalidRequestException) error).field());
  }

  @Test
  void overloadedSaysWhenToComeBack() {
    var delay = com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(500_000_000);
    RetryInfo retry = RetryInfo.newBuilder().setRetryDelay(delay).build();
    var error = decode(Status.RESOURCE_EXHAUSTED, info("OVERLOADED"), retry);
    assertInstanceOf(OverloadedException.class, error);
    assertEquals(Optional.of(Duration.ofMillis(1500)), error.retryAfter());
  }

  @Test
  void unavailableTellsItsCauses() {
    ErrorInfo info =
        info("UPSTREAM_UNAVAILABLE").toBuilder().putMetadata("causes", "rate_limited=2, connection=1").build();
    var error = decode(Status.UNAVAILABLE, info, CompleteFailure.newBuilder().setTier("mid").build());
    assertInstanceOf(UnavailableException.class, error);
    assertEquals(Map.of("rate_limited", 2, "connection", 1), error.causes());
    assertEquals("mid", error.failure().orElseThrow().getTier());
  }

  @Test
  void anExceptionCanBeSerialised() throws Exception {
    var written = new ByteArrayOutputStream();
    CompleteFailure failure = CompleteFailure.newBuilder().setTier("mid").build();
    new ObjectOutputStream(written).writeObject(decode(Status.UNAVAILABLE, info("NOT_SERVING"), failure));
    var read = new ObjectInputStream(new ByteArrayInputStream(written.toByteArray())).readObject();
    var error = assertInstanceOf(UnavailableException.class, read);
    assertEquals("NOT_SERVING", error.reason());
    assertEquals("mid", error.failure().orElseThrow().getTier());
  }

  @Test
  void garbledCausesAreNone() {
    ErrorInfo info =
        info("UPSTREAM_UNAVAILABLE").toBuilder().putMetadata("causes", "a=, =b, c=99999999999, d").build();
    assertEquals(Map.of(), decode(Status.UNAVAILABLE, info).causes());
  }

  @ParameterizedTest
  @EnumSource(value = Status.Code.class, mode = EnumSource.Mode.EXCLUDE, names = "OK")
  void everyCodeHasAClass(Status.Code code) {
    Class<?> wanted =
        switch (code) {
          case INVALID_ARGUMENT -> InvalidRequestException.class;
          case RESOURCE_EXHAUSTED -> OverloadedException.class;
          case UNAVAILABLE -> UnavailableException.class;
          case DEADLINE_EXCEEDED -> DeadlineExceededException.class;
          case CANCELLED -> CallCancelledException.class;
          case UNAUTHENTICATED, PERMISSION_DENIED -> AccessDeniedException.class;
          case INTERNAL, UNKNOWN, DATA_LOSS -> InternalException.class;
          default -> TurnoutException.class;
        };
    TurnoutException error = ErrorDecoding.decode(code.toStatus(), null, null);
    assertSame(wanted, error.getClass());
    assertEquals(code.name(), error.label());
  }

  @Test
  void reasonsOfTheFutureAndOfOthersBreakNothing() {
    Any unknown = Any.newBuilder().setTypeUrl("type.googleapis.com/of.the.Future").build();
    assertEquals("FROM_THE_FUTURE", decode(Status.ABORTED, unknown, info("FROM_THE_FUTURE")).reason());
    ErrorInfo others = ErrorInfo.newBuilder().setDomain("example.com").setReason("NO_CANDIDATE").build();
    assertEquals(TurnoutException.UNSPECIFIED, decode(Status.ABORTED, others).reason());
  }

  @Test
  void garbledDetailsLeaveTheCode() {
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, new byte[] {-1, -1, -1});
    assertInstanceOf(OverloadedException.class, ErrorDecoding.decode(Status.RESOURCE_EXHAUSTED, trailers, null));
    Any garbled =
        Any.newBuilder()
            .setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo")
            .setValue(ByteString.copyFrom(new byte[] {-1}))
            .build();
    assertEquals("NOT_SERVING", decode(Status.UNAVAILABLE, garbled, info("NOT_SERVING")).reason());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "SERVER: "})
  void aMessageThatIsTooLargeIsTheCallersFault(String side) {
    String words = side + "Received message larger than max (20 vs. 10)";
    var decoded = ErrorDecoding.decode(Status.RESOURCE_EXHAUSTED.withDescription(words), null, null);
    var error = assertInstanceOf(InvalidRequestException.class, decoded);
    assertEquals("20 bytes", error.value());
    assertEquals("10 bytes", error.limit());
  }

  @Test
  void anAnswerThatIsTooLargeIsNoOverload() {
    Status status = Status.RESOURCE_EXHAUSTED.withDescription("gRPC message exceeds maximum size 10: 20");
    assertSame(TurnoutException.class, ErrorDecoding.decode(status, null, null).getClass());
  }

  @Test
  void anItemsErrorHasItsReasonsNumberAtLeast() {
    var known = ErrorDecoding.decode(RouteError.newBuilder().setCode(9).setReasonValue(8).build());
    assertInstanceOf(NoCandidateException.class, known);
    var newer = ErrorDecoding.decode(RouteError.newBuilder().setCode(99).setReasonValue(99).setField("prompt").build());
    assertEquals("UNKNOWN_99", newer.reason());
    assertEquals(Status.Code.UNKNOWN, newer.code());
    assertTrue(newer.metadata().containsValue("prompt"));
  }
}

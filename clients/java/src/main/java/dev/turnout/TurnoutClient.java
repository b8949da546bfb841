package dev.turnout;

import com.google.protobuf.MessageLite;
import com.google.protobuf.StringValue;
import dev.turnout.v1.CompleteRequest;
import dev.turnout.v1.CompleteResponse;
import dev.turnout.v1.CompleteStreamRequest;
import dev.turnout.v1.CompleteStreamResponse;
import dev.turnout.v1.CompletionServiceGrpc;
import dev.turnout.v1.RouteBatchRequest;
import dev.turnout.v1.RouteBatchResponse;
import dev.turnout.v1.RouteRequest;
import dev.turnout.v1.RouteResponse;
import dev.turnout.v1.RoutingServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * Asks the service. Safe to use from any thread: make one, keep it, close it at the end.
 *
 * <p>Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to stay
 * away; streams, completions and everything else are not retried. Calls throw {@link TurnoutException}; of a closed
 * client, {@link IllegalStateException}.
 */
public final class TurnoutClient implements AutoCloseable {
  private static final long CLOSE_S = 5;

  private final List<ManagedChannel> channels;
  private final TurnoutClientBuilder settings;
  private final AtomicInteger turn = new AtomicInteger();
  private final FailOpen failOpen;
  private final ReconnectPace reconnecting = new ReconnectPace(System::nanoTime);
  private volatile boolean closed;

  TurnoutClient(TurnoutClientBuilder settings, List<ManagedChannel> channels) {
    this.settings = settings;
    this.failOpen = new FailOpen(settings.onFailOpen);
    this.channels = List.copyOf(channels);
  }

  /** A client of a service in clear text, such as {@code localhost:50051} or {@code unix:/run/turnout.sock}. */
  public static TurnoutClient connect(String target) {
    return builder(target).build();
  }

  /** A client with settings of its own. */
  public static TurnoutClientBuilder builder(String target) {
    return new TurnoutClientBuilder(target);
  }

  /** As {@link #route(RouteRequest)}, for a bare prompt. */
  public RouteResponse route(String prompt) {
    return route(RouteRequest.newBuilder().setPrompt(prompt).build());
  }

  /** Asks which tier should answer a request, within the client's deadline, 1 second by default. */
  public RouteResponse route(RouteRequest request) {
    return route(request, routeTimeout());
  }

  /** As {@link #route(RouteRequest)}, within a deadline of its own. */
  public RouteResponse route(RouteRequest request, Duration timeout) {
    return call(RoutingServiceGrpc.getRouteMethod(), request, timeout);
  }

  /** As {@link #route(RouteRequest)}, without waiting; cancelling the future cancels the call. */
  public CompletableFuture<RouteResponse> routeAsync(RouteRequest request) {
    return routeAsync(request, routeTimeout());
  }

  /** As {@link #routeAsync(RouteRequest)}, within a deadline of its own. */
  public CompletableFuture<RouteResponse> routeAsync(RouteRequest request, Duration timeout) {
    return callAsync(RoutingServiceGrpc.getRouteMethod(), request, timeout);
  }

  /** As {@link #routeOr(String, RouteRequest, Duration)}, within 50 ms or the client's {@code routeOrTimeout}. */
  public Outcome routeOr(String defaultTier, RouteRequest request) {
    return routeOr(defaultTier, request, settings.routeOrTimeout);
  }

  /**
   * As {@code route}, but fails open: where the service gives no decision, the caller's default serves, and that is
   * counted.
   *
   * @throws InvalidRequestException the request breaks the contract, which a default would hide.
   */
  public Outcome routeOr(String defaultTier, RouteRequest request, Duration timeout) {
    Objects.requireNonNull(defaultTier);
    try {
      return Outcome.decided(route(request, timeout));
    } catch (InvalidRequestException error) {
      throw error;
    } catch (TurnoutException error) {
      return failOpen.decide(defaultTier, error);
    }
  }

  /** How often {@code routeOr} fell back, by {@link TurnoutException#label}. A copy. */
  public Map<String, Long> failOpenCounts() {
    return failOpen.counts();
  }

  /** As {@link #routeBatch(List, Duration)}, within 5 seconds or the client's deadline. */
  public List<Outcome> routeBatch(List<RouteRequest> requests) {
    return routeBatch(requests, orDefault(settings.timeout, "turnout.v1.RoutingService/RouteBatch"));
  }

  /** Asks for at most 1,024 decisions in one call: for each request, in their order, its outcome. None make no call. */
  public List<Outcome> routeBatch(List<RouteRequest> requests, Duration timeout) {
    if (requests.isEmpty()) {
      return List.of();
    }
    RouteBatchRequest batch = RouteBatchRequest.newBuilder().addAllRequests(requests).build();
    RouteBatchResponse response = call(RoutingServiceGrpc.getRouteBatchMethod(), batch, timeout);
    if (response.getResultsCount() != requests.size()) {
      String message = response.getResultsCount() + " results for " + requests.size() + " requests";
      throw new InternalException(ErrorDetails.of(Status.Code.INTERNAL, message), null);
    }
    return response.getResultsList().stream().map(Outcome::of).collect(Collectors.toUnmodifiableList());
  }

  /** As {@link #routeStream(Duration)}, within an hour. */
  public RouteStream routeStream() {
    return routeStream(orDefault(null, "turnout.v1.RoutingService/RouteStream"));
  }

  /** Asks for decisions as requests come; to be closed. */
  public RouteStream routeStream(Duration timeout) {
    return new RouteStream(begin(RoutingServiceGrpc.getRouteStreamMethod(), timeout), this::decode);
  }

  /** As {@link #complete(CompleteRequest, Duration)}, within 120 seconds. */
  public CompleteResponse complete(CompleteRequest request) {
    return complete(request, orDefault(null, "turnout.v1.CompletionService/Complete"));
  }

  /** Has a request answered by the tier that is decided for it. Never retried here: the service does, and bills. */
  public CompleteResponse complete(CompleteRequest request, Duration timeout) {
    return call(CompletionServiceGrpc.getCompleteMethod(), request, timeout);
  }

  /** As {@link #completeStream(CompleteStreamRequest, Duration)}, within 600 seconds. */
  public ResponseStream<CompleteStreamResponse> completeStream(CompleteStreamRequest request) {
    return completeStream(request, orDefault(null, "turnout.v1.CompletionService/CompleteStream"));
  }

  /** Has a request answered as the answer comes; to be closed. Never retried here. */
  public ResponseStream<CompleteStreamResponse> completeStream(CompleteStreamRequest request, Duration timeout) {
    ErrorDecoding.checkSize(request);
    ClientCall<CompleteStreamRequest, CompleteStreamResponse> call =
        begin(CompletionServiceGrpc.getCompleteStreamMethod(), timeout);
    ResponseStream<CompleteStreamResponse> stream =
        new ResponseStream<>(call, Function.identity(), this::decode);
    call.sendMessage(request);
    call.halfClose();
    return stream;
  }

  /** How the whole server is, by the standard health check; also a way to connect before the first request. */
  public HealthStatus checkHealth() {
    return checkHealth("", orDefault(settings.timeout, "grpc.health.v1.Health/Check"));
  }

  /** How a service of that full name is: SERVING over every connection, or what the first other one says. */
  public HealthStatus checkHealth(String service, Duration timeout) {
    StringValue question = StringValue.of(service);
    for (int i = 0; i < channels.size(); i++) {
      HealthStatus status;
      try {
        status = HealthStatus.of(call(Health.CHECK, question, timeout).getValue());
      } catch (TurnoutException error) {
        if (error.code() != Status.Code.NOT_FOUND) {
          throw error;
        }
        status = HealthStatus.SERVICE_UNKNOWN;
      }
      if (status != HealthStatus.SERVING) {
        return status;
      }
    }
    return HealthStatus.SERVING;
  }

  /** Ends calls in flight with {@link CallCancelledException} and disconnects. May be called again. */
  @Override
  public void close() {
    closed = true;
    channels.forEach(ManagedChannel::shutdownNow);
    try {
      for (ManagedChannel channel : channels) {
        channel.awaitTermination(CLOSE_S, TimeUnit.SECONDS);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private Duration routeTimeout() {
    return orDefault(settings.timeout, "turnout.v1.RoutingService/Route");
  }

  private static Duration orDefault(Duration timeout, String method) {
    return timeout != null ? timeout : ServiceConfig.SHARED.timeout(method);
  }

  private <Q, A> ClientCall<Q, A> begin(MethodDescriptor<Q, A> method, Duration timeout) {
    if (closed) {
      throw new IllegalStateException("the client is closed");
    }
    TurnoutClientBuilder.checkPositive("timeout", timeout);
    ManagedChannel channel = channels.get(Math.floorMod(turn.getAndIncrement(), channels.size()));
    return channel.newCall(
        method, CallOptions.DEFAULT.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS));
  }

  private <Q extends MessageLite, A> A call(MethodDescriptor<Q, A> method, Q question, Duration timeout) {
    CompletableFuture<A> answer = callAsync(method, question, timeout);
    try {
      return answer.get();
    } catch (InterruptedException e) {
      answer.cancel(false);
      Thread.currentThread().interrupt();
      throw ErrorDecoding.classify(ErrorDetails.of(Status.Code.CANCELLED, "the calling thread was interrupted"), e);
    } catch (ExecutionException e) {
      TurnoutException error = (TurnoutException) e.getCause();
      // The trace of the thread that called says more than that of gRPC's.
      error.fillInStackTrace();
      throw error;
    }
  }

  private <Q extends MessageLite, A> CompletableFuture<A> callAsync(
      MethodDescriptor<Q, A> method, Q question, Duration timeout) {
    ErrorDecoding.checkSize(question);
    ClientCall<Q, A> call = begin(method, timeout);
    CompletableFuture<A> answer = new CompletableFuture<>();
    ClientCalls.asyncUnaryCall(
        call,
        question,
        new StreamObserver<A>() {
          @Override
          public void onNext(A value) {
            answer.complete(value);
          }

          @Override
          public void onError(Throwable error) {
            answer.completeExceptionally(decode(Status.fromThrowable(error), Status.trailersFromThrowable(error)));
          }

          @Override
          public void onCompleted() {
            // Without effect where there was an answer, as there must be.
            answer.completeExceptionally(decode(Status.INTERNAL.withDescription("no answer came"), null));
          }
        });
    answer.whenComplete(
        (value, error) -> {
          if (answer.isCancelled()) {
            call.cancel("the future was cancelled", null);
          }
        });
    return answer;
  }

  private TurnoutException decode(Status status, Metadata trailers) {
    if (closed && status.getCode() == Status.Code.UNAVAILABLE) {
      status = Status.CANCELLED.withDescription("the client was closed");
    } else if (status.getCode() == Status.Code.UNAVAILABLE && reconnecting.isDue()) {
      channels.forEach(ManagedChannel::resetConnectBackoff);
    }
    return ErrorDecoding.decode(status, trailers, null);
  }
}

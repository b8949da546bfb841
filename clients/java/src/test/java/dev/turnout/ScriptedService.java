package dev.turnout;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import dev.turnout.v1.CompleteRequest;
import dev.turnout.v1.CompleteResponse;
import dev.turnout.v1.CompleteStreamRequest;
import dev.turnout.v1.CompleteStreamResponse;
import dev.turnout.v1.CompletionServiceGrpc;
import dev.turnout.v1.RouteBatchRequest;
import dev.turnout.v1.RouteBatchResponse;
import dev.turnout.v1.RouteRequest;
import dev.turnout.v1.RouteResponse;
import dev.turnout.v1.RouteResult;
import dev.turnout.v1.RouteStreamRequest;
import dev.turnout.v1.RouteStreamResponse;
import dev.turnout.v1.RoutingServiceGrpc;
import dev.turnout.v1.TextDelta;
import io.grpc.Attributes;
import io.grpc.ForwardingServerCallListener.SimpleForwardingServerCallListener;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.ServerTransportFilter;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A service on a real loopback port that answers as a request's policy says, and counts what it sees. */
final class ScriptedService implements AutoCloseable {
  static final long PATIENCE_S = 30;

  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);

  /** Of every attempt. */
  final List<Metadata> headers = new CopyOnWriteArrayList<>();
  final Set<SocketAddress> peers = ConcurrentHashMap.newKeySet();
  final AtomicInteger connections = new AtomicInteger();
  final AtomicInteger callsInFlight = new AtomicInteger();
  private final Server server;

  ScriptedService() throws IOException {
    this(InsecureServerCredentials.create());
  }

  ScriptedService(ServerCredentials credentials) throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0), credentials)
            .addService(new Routing())
            .addService(new Completion())
            .intercept(new Watch())
            .addTransportFilter(new Connections())
            .build()
            .start();
  }

  String target() {
    return "127.0.0.1:" + server.getPort();
  }

  @Override
  public void close() throws InterruptedException {
    server.shutdownNow().awaitTermination(PATIENCE_S, TimeUnit.SECONDS);
  }

  /** What a service sends whose contract has more than ours. */
  static RouteResponse newer() throws IOException {
    RouteResponse known = RouteResponse.newBuilder().setTier("mid").setStatusValue(99).setTaskValue(99).build();
    // Field 1000, a varint.
    ByteString unknown = ByteString.copyFrom(new byte[] {(byte) 0xc0, 0x3e, 0x2a});
    return RouteResponse.parseFrom(known.toByteString().concat(unknown));
  }

  private static RuntimeException failure(Status.Code code, String reason, String key, String value) {
    ErrorInfo info =
        ErrorInfo.newBuilder().setDomain("turnout.v1").setReason(reason).putMetadata(key, value).build();
    return StatusProto.toStatusRuntimeException(
        com.google.rpc.Status.newBuilder().setCode(code.value()).addDetails(Any.pack(info)).build());
  }

  private static RouteResponse answer(RouteRequest request) {
    return RouteResponse.newBuilder().setTier("mid").setPolicy(request.getPrompt()).build();
  }

  private static final class Routing extends RoutingServiceGrpc.RoutingServiceImplBase {
    @Override
    public void route(RouteRequest request, StreamObserver<RouteResponse> answers) {
      switch (request.getPolicy()) {
        case "slow" -> {}
        case "internal" ->
            answers.onError(failure(Status.Code.INTERNAL, "INTERNAL", "incident", "a1"));
        case "invalid" ->
            answers.onError(failure(Status.Code.INVALID_ARGUMENT, "INVALID_FIELD", "field", "prompt"));
        case "down" -> {
          Metadata trailers = new Metadata();
          trailers.put(PUSHBACK, "1");
          answers.onError(Status.UNAVAILABLE.asRuntimeException(trailers));
        }
        case "newer" -> {
          try {
            answers.onNext(newer());
          } catch (IOException e) {
            throw new AssertionError(e);
          }
          answers.onCompleted();
        }
        default -> {
          answers.onNext(answer(request));
          answers.onCompleted();
        }
      }
    }

    @Override
    public void routeBatch(RouteBatchRequest request, StreamObserver<RouteBatchResponse> answers) {
      RouteBatchResponse.Builder response = RouteBatchResponse.newBuilder();
      int kept = request.getRequests(0).getPolicy().equals("too-few") ? 1 : request.getRequestsCount();
      request.getRequestsList().stream()
          .limit(kept)
          .forEach(one -> response.addResults(RouteResult.newBuilder().setResponse(answer(one))));
      answers.onNext(response.build());
      answers.onCompleted();
    }

    @Override
    public StreamObserver<RouteStreamRequest> routeStream(StreamObserver<RouteStreamResponse> answers) {
      return new StreamObserver<>() {
        private boolean ended;

        @Override
        public void onNext(RouteStreamRequest message) {
          if (ended) {
            return;
          }
          if (message.getRequest().getPolicy().equals("end")) {
            ended = true;
            answers.onError(Status.UNAVAILABLE.asRuntimeException());
            return;
          }
          RouteResult result = RouteResult.newBuilder().setResponse(answer(message.getRequest())).build();
          answers.onNext(RouteStreamResponse.newBuilder().setResult(result).build());
        }

        @Override
        public void onError(Throwable error) {}

        @Override
        public void onCompleted() {
          answers.onCompleted();
        }
      };
    }
  }

  private static final class Completion extends CompletionServiceGrpc.CompletionServiceImplBase {
    @Override
    public void complete(CompleteRequest request, StreamObserver<CompleteResponse> answers) {
      answers.onNext(CompleteResponse.newBuilder().setTier("mid").build());
      answers.onCompleted();
    }

    /** Goes on until the caller goes. */
    @Override
    public void completeStream(CompleteStreamRequest request, StreamObserver<CompleteStreamResponse> answers) {
      var call = (ServerCallStreamObserver<CompleteStreamResponse>) answers;
      CompleteStreamResponse text =
          CompleteStreamResponse.newBuilder().setText(TextDelta.newBuilder().setText("o".repeat(4096))).build();
      call.setOnReadyHandler(
          () -> {
            while (call.isReady() && !call.isCancelled()) {
              call.onNext(text);
            }
          });
    }
  }

  private final class Watch implements ServerInterceptor {
    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, A> call, Metadata given, ServerCallHandler<Q, A> next) {
      headers.add(given);
      peers.add(call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR));
      callsInFlight.incrementAndGet();
      return new SimpleForwardingServerCallListener<Q>(next.startCall(call, given)) {
        @Override
        public void onComplete() {
          callsInFlight.decrementAndGet();
          super.onComplete();
        }

        @Override
        public void onCancel() {
          callsInFlight.decrementAndGet();
          super.onCancel();
        }
      };
    }
  }

  private final class Connections extends ServerTransportFilter {
    @Override
    public Attributes transportReady(Attributes attributes) {
      connections.incrementAndGet();
      return attributes;
    }

    @Override
    public void transportTerminated(Attributes attributes) {
      connections.decrementAndGet();
    }
  }
}

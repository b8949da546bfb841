package dev.turnout;

import dev.turnout.v1.RouteRequest;
import dev.turnout.v1.RouteStreamRequest;
import dev.turnout.v1.RouteStreamResponse;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.function.BiFunction;

/**
 * Decisions for requests as they come: an outcome for each, in their order.
 *
 * <p>Send from one thread and read from another, or send a few before reading: the service stops reading where its
 * results are not read.
 */
public final class RouteStream extends ResponseStream<Outcome> {
  private final ClientCall<RouteStreamRequest, RouteStreamResponse> call;

  RouteStream(
      ClientCall<RouteStreamRequest, RouteStreamResponse> call,
      BiFunction<Status, Metadata, TurnoutException> decodeError) {
    super(call, response -> Outcome.of(response.getResult()), decodeError);
    this.call = call;
  }

  /**
   * Sends a request, once gRPC has room for it.
   *
   * @return false if the stream has ended, and the request was not sent; reading says why.
   * @throws InvalidRequestException the request is too large; the stream goes on without it.
   * @throws InterruptedException the thread was interrupted while it waited.
   */
  public synchronized boolean send(RouteRequest request) throws InterruptedException {
    ErrorDecoding.checkSize(request);
    while (!call.isReady() && !ended()) {
      wait();
    }
    if (ended()) {
      return false;
    }
    try {
      call.sendMessage(RouteStreamRequest.newBuilder().setRequest(request).build());
      return true;
    } catch (IllegalStateException e) {
      // gRPC's word for a call that another thread has closed since.
      return false;
    }
  }

  /** No more requests will come: the stream ends with the last result. */
  public synchronized void finish() {
    try {
      call.halfClose();
    } catch (IllegalStateException e) {
      // Closed already, which ends the stream too.
      return;
    }
  }

  @Override
  synchronized void signalReady() {
    notifyAll();
  }
}

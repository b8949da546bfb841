package dev.turnout;

import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Spliterator;
import java.util.Spliterators;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/**
 * What comes back on a stream, as it comes. To be closed, or read to its end; closing cancels what is not at its end.
 *
 * <p>One thread reads; {@link #close} may be called from any other, and then reading ends with {@link
 * CallCancelledException}.
 *
 * @param <T> what comes.
 */
public class ResponseStream<T> implements Iterator<T>, AutoCloseable {
  // So many messages are asked for before they are read; more wait at the service.
  private static final int READ_AHEAD = 8;

  private record Message<M>(M value) {}

  private record End(Status status, Metadata trailers) {}

  private final ClientCall<?, ?> call;
  private final BiFunction<Status, Metadata, TurnoutException> decodeError;
  // Messages, and one End after them; never more than READ_AHEAD + 1.
  private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
  private Object next;
  private volatile boolean ended;

  <Q, M> ResponseStream(
      ClientCall<Q, M> call,
      Function<M, T> decode,
      BiFunction<Status, Metadata, TurnoutException> decodeError) {
    this.call = call;
    this.decodeError = decodeError;
    call.start(
        new ClientCall.Listener<M>() {
          @Override
          public void onMessage(M message) {
            arrived.add(new Message<>(decode.apply(message)));
          }

          @Override
          public void onReady() {
            signalReady();
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            ended = true;
            arrived.add(new End(status, trailers));
            signalReady();
          }
        },
        new Metadata());
    call.request(READ_AHEAD);
  }

  /** Called when more can be sent, and when nothing more can. */
  void signalReady() {}

  /** Whether the call is at its end, read or not. */
  boolean ended() {
    return ended;
  }

  /**
   * Waits for what comes next; false at the end of a stream that ended well.
   *
   * @throws TurnoutException the stream failed.
   */
  @Override
  public boolean hasNext() {
    if (next == null) {
      try {
        next = arrived.take();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        close();
        throw ErrorDecoding.classify(ErrorDetails.of(Status.Code.CANCELLED, "the reading thread was interrupted"), e);
      }
      if (next instanceof Message) {
        call.request(1);
      }
    }
    if (next instanceof End end) {
      if (end.status().isOk()) {
        return false;
      }
      throw decodeError.apply(end.status(), end.trailers());
    }
    return true;
  }

  @Override
  @SuppressWarnings("unchecked")
  public T next() {
    if (!hasNext()) {
      throw new NoSuchElementException();
    }
    T value = ((Message<T>) next).value();
    next = null;
    return value;
  }

  /** The same as a stream of Java's, whose {@code close} is this one's. */
  public Stream<T> stream() {
    int traits = Spliterator.ORDERED | Spliterator.NONNULL;
    return StreamSupport.stream(Spliterators.spliteratorUnknownSize(this, traits), false).onClose(this::close);
  }

  /** Cancels what is not at its end. May be called again. */
  @Override
  public void close() {
    call.cancel("the stream was closed", null);
  }
}

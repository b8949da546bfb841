package dev.turnout;

import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.MetadataUtils;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;

/** How a {@link TurnoutClient} connects. Made by {@link TurnoutClient#builder}. */
public final class TurnoutClientBuilder {
  /** Of a message, both ways: the service's own default. */
  static final int MAX_MESSAGE_BYTES = 16 << 20;

  private static final int MAX_CONNECTIONS = 256;
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final String target;
  private ChannelCredentials credentials;
  private String token;
  private String userAgent = "";
  private int connections = 1;
  private UnaryOperator<ManagedChannelBuilder<?>> channelOptions = UnaryOperator.identity();
  Duration timeout;
  Duration routeOrTimeout = Duration.ofMillis(50);
  Consumer<TurnoutException> onFailOpen = error -> {};

  TurnoutClientBuilder(String target) {
    this.target = Objects.requireNonNull(target);
  }

  /** TLS that trusts the authorities which Java trusts. */
  public TurnoutClientBuilder tls() {
    return credentials(TlsChannelCredentials.create());
  }

  /** gRPC's own credentials, such as {@link TlsChannelCredentials} with authorities and a key; none: clear text. */
  public TurnoutClientBuilder credentials(ChannelCredentials credentials) {
    this.credentials = Objects.requireNonNull(credentials);
    return this;
  }

  /** Sent as a bearer token with every call; beyond this machine credentials must protect it. */
  public TurnoutClientBuilder token(String token) {
    this.token = Objects.requireNonNull(token);
    return this;
  }

  /** Deadline of {@code route}, {@code routeBatch} and {@code checkHealth}, instead of 1, 5 and 1 seconds. */
  public TurnoutClientBuilder timeout(Duration timeout) {
    this.timeout = checkPositive("timeout", timeout);
    return this;
  }

  /** Deadline of {@code routeOr}, instead of 50 milliseconds. */
  public TurnoutClientBuilder routeOrTimeout(Duration timeout) {
    this.routeOrTimeout = checkPositive("routeOrTimeout", timeout);
    return this;
  }

  /** Called with the error each time that {@code routeOr} falls back; what it throws is logged and goes no further. */
  public TurnoutClientBuilder onFailOpen(Consumer<TurnoutException> listener) {
    this.onFailOpen = Objects.requireNonNull(listener);
    return this;
  }

  /** HTTP/2 connections, 1 to 256, used in turn; for where one is the limit. */
  public TurnoutClientBuilder connections(int connections) {
    if (connections < 1 || connections > MAX_CONNECTIONS) {
      throw new IllegalArgumentException(
          "connections: " + connections + " breaks the limit: 1 to " + MAX_CONNECTIONS);
    }
    this.connections = connections;
    return this;
  }

  /** What to add to the user agent {@code turnout-java/VERSION}. */
  public TurnoutClientBuilder userAgent(String userAgent) {
    if (!userAgent.chars().allMatch(c -> c >= ' ' && c <= '~')) {
      throw new IllegalArgumentException("userAgent: printable ASCII is needed");
    }
    this.userAgent = userAgent;
    return this;
  }

  /** Changes gRPC's own options of each connection, after the client's. */
  public TurnoutClientBuilder channelOptions(UnaryOperator<ManagedChannelBuilder<?>> options) {
    this.channelOptions = Objects.requireNonNull(options);
    return this;
  }

  /**
   * A client; it connects at the first call.
   *
   * @throws IllegalArgumentException a token would cross a network in clear text.
   */
  public TurnoutClient build() {
    List<ClientInterceptor> interceptors = new ArrayList<>();
    if (token != null) {
      Metadata headers = new Metadata();
      headers.put(AUTHORIZATION, BearerToken.header(token, target, credentials != null));
      interceptors.add(MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    List<ManagedChannel> channels = new ArrayList<>();
    for (int i = 0; i < connections; i++) {
      channels.add(openChannel(interceptors));
    }
    return new TurnoutClient(this, channels);
  }

  private ManagedChannel openChannel(List<ClientInterceptor> interceptors) {
    ChannelCredentials how = credentials == null ? InsecureChannelCredentials.create() : credentials;
    ManagedChannelBuilder<?> builder =
        NettyChannelBuilder.forTarget(target, how)
            .userAgent(("turnout-java/" + version() + " " + userAgent).strip())
            .intercept(interceptors)
            .defaultServiceConfig(ServiceConfig.SHARED.channel())
            .disableServiceConfigLookUp()
            .enableRetry()
            // A request larger than the buffer would be sent once only.
            .perRpcBufferLimit(MAX_MESSAGE_BYTES)
            .retryBufferSize(4L * MAX_MESSAGE_BYTES)
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            // A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
            .keepAliveTime(30, TimeUnit.SECONDS)
            .keepAliveTimeout(10, TimeUnit.SECONDS)
            .keepAliveWithoutCalls(false);
    return channelOptions.apply(builder).build();
  }

  /** This client's version. */
  static String version() {
    Properties properties = new Properties();
    try (InputStream stream = TurnoutClientBuilder.class.getResourceAsStream("version.properties")) {
      properties.load(stream);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return properties.getProperty("version");
  }

  static Duration checkPositive(String name, Duration value) {
    if (value.isZero() || value.isNegative()) {
      throw new IllegalArgumentException(name + ": " + value + " breaks the limit: more than 0");
    }
    return value;
  }
}

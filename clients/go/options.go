package turnout

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

const (
	// Of a message, both ways; the server's own default.
	maxMessageBytes = 16 << 20
	maxConnections  = 256
)

// Option changes a default of New.
type Option func(*settings)

type settings struct {
	tls            *tls.Config
	token          string
	timeout        time.Duration
	routeOrTimeout time.Duration
	onFailOpen     func(error)
	connections    int
	userAgent      string
	dialOptions    []grpc.DialOption
}

// WithTLS encrypts; an empty configuration trusts the system's authorities. Without it, clear text is sent.
func WithTLS(config *tls.Config) Option { return func(s *settings) { s.tls = config } }

// WithToken sends a bearer token with every call. Beyond this machine WithTLS must protect it.
func WithToken(token string) Option { return func(s *settings) { s.token = token } }

// WithTimeout is the deadline of Route, RouteBatch and CheckHealth where their context has none; else 1, 5 and 1 s.
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithRouteOrTimeout is the most that RouteOr takes, whatever its context allows; else 50 ms.
func WithRouteOrTimeout(timeout time.Duration) Option {
	return func(s *settings) { s.routeOrTimeout = timeout }
}

// WithOnFailOpen is called with the error each time that RouteOr falls back.
func WithOnFailOpen(call func(error)) Option { return func(s *settings) { s.onFailOpen = call } }

// WithConnections opens that many HTTP/2 connections, 1 to 256, used in turn; for where one is the limit.
func WithConnections(count int) Option { return func(s *settings) { s.connections = count } }

// WithUserAgent adds to the user agent turnout-go/<version>, such as "shop/2.1".
func WithUserAgent(name string) Option { return func(s *settings) { s.userAgent = name } }

// WithDialOptions adds gRPC's own options, which replace the client's.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dialOptions = append(s.dialOptions, options...) }
}

func (s *settings) check(target string) error {
	switch {
	case s.connections < 1 || s.connections > maxConnections:
		return fmt.Errorf("turnout: connections: %d breaks the limit: 1 to %d", s.connections, maxConnections)
	case s.timeout < 0:
		return fmt.Errorf("turnout: timeout: %v breaks the limit: more than 0", s.timeout)
	case s.routeOrTimeout <= 0:
		return fmt.Errorf("turnout: route-or timeout: %v breaks the limit: more than 0", s.routeOrTimeout)
	case !isPrintable(s.userAgent):
		return fmt.Errorf("turnout: user agent: printable ASCII is needed")
	case !isPrintable(s.token) || strings.Contains(s.token, " "):
		return fmt.Errorf("turnout: token: printable ASCII without spaces is needed")
	case s.token != "" && s.tls == nil && !staysOnMachine(target):
		return fmt.Errorf("turnout: token: %s is not on this machine, so TLS is needed", target)
	}
	return nil
}

func (s *settings) plan() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithUserAgent(strings.TrimSpace("turnout-go/" + Version + " " + s.userAgent)),
		grpc.WithDefaultServiceConfig(sharedServiceConfig.channelJSON),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallSendMsgSize(maxMessageBytes),
			grpc.MaxCallRecvMsgSize(maxMessageBytes),
			// A request larger than the buffer would be sent once only.
			grpc.MaxRetryRPCBufferSize(maxMessageBytes),
		),
		// A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// gRPC's own ceiling of 120 s would keep clients away for two minutes after an outage.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	if s.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearerToken{s.token, s.tls != nil}))
	}
	return append(options, s.dialOptions...)
}

// staysOnMachine is true if a gRPC target is a Unix socket or one loopback address; false in doubt.
func staysOnMachine(target string) bool {
	if strings.HasPrefix(target, "unix:") || strings.HasPrefix(target, "unix-abstract:") {
		return true
	}
	host := target[strings.LastIndex(target, "/")+1:]
	host = strings.TrimPrefix(strings.TrimPrefix(host, "dns:"), "passthrough:")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || address != nil && address.IsLoopback()
}

func isPrintable(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

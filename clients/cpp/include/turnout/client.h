// The client of Turnout, which routes each LLM request to the cheapest model tier that meets its quality bar.
#pragma once

#include <grpcpp/security/credentials.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "turnout/call.h"
#include "turnout/errors.h"
#include "turnout/stream.h"
#include "turnout/v1/completion.pb.h"
#include "turnout/v1/routing.pb.h"

namespace turnout {

// TLS by PEM texts; TlsConfig{} trusts the authorities that gRPC ships.
struct TlsConfig {
  // Authorities to trust instead.
  std::string root_certificates;
  // The client's key and certificate, for mutual TLS; both or neither.
  std::string private_key;
  std::string certificate_chain;
  // The name that the server's certificate must bear, where it is not the target's host.
  std::string server_name;
};

struct ClientOptions {
  // Neither this nor `credentials`: clear text.
  std::optional<TlsConfig> tls;
  // gRPC's own credentials instead of `tls`.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  // Sent as a bearer token with every call; beyond this machine `tls` or `credentials` must protect it.
  std::string token;
  // Deadline of `route`, `route_batch` and `check_health`, instead of 1, 5 and 1 seconds.
  std::optional<std::chrono::nanoseconds> timeout;
  // Deadline of `route_or`.
  std::chrono::nanoseconds route_or_timeout = std::chrono::milliseconds(50);
  // Called with the error each time that `route_or` falls back; what it throws goes no further.
  std::function<void(const Error&)> on_fail_open;
  // HTTP/2 connections, 1 to 256, used in turn; for where one is the limit.
  int connections = 1;
  // What to add to the user agent `turnout-cpp/VERSION`: printable ASCII.
  std::string user_agent;
};

// What a service says of itself; numbers of grpc.health.v1.HealthCheckResponse.ServingStatus.
enum class HealthStatus { kUnknown = 0, kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

// Asks the service. Safe to use from any thread: make one, keep it, close it at the end.
//
// Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to stay away;
// streams, completions and everything else are not retried. Calls throw Error; of a closed client, ClientClosedError.
class Client {
 public:
  // Prepares a client of a gRPC target, such as "router.internal:50051" or "unix:/run/turnout.sock"; it connects at the first
  // call. Throws std::invalid_argument where an option breaks its limit, or a token would cross a network in clear text.
  explicit Client(const std::string& target = "localhost:50051", ClientOptions options = {});
  // Closes. No call may be in another thread any more; streams may live on, cancelled.
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Asks which tier should answer a request.
  v1::RouteResponse route(const v1::RouteRequest& request, CallOptions options = {});
  v1::RouteResponse route(const std::string& prompt, CallOptions options = {});

  // As `route`, but fails open: where the service gives no decision, the caller's default serves, and that is counted. Throws
  // InvalidRequestError where the request breaks the contract, which a default would hide.
  Outcome route_or(const std::string& default_tier, const v1::RouteRequest& request, CallOptions options = {});
  // How often `route_or` fell back, by Error::label. A copy.
  std::map<std::string, int64_t> fail_open_counts() const;

  // Asks for at most 1,024 decisions in one call: for each request, in their order, its outcome. None make no call.
  std::vector<Outcome> route_batch(const std::vector<v1::RouteRequest>& requests, CallOptions options = {});
  // Asks for decisions as requests come; an hour by default.
  RouteStream route_stream(CallOptions options = {});

  // Has a request answered by the tier that is decided for it; 120 seconds by default. Never retried here: the service does what
  // helps, and the call is billed.
  v1::CompleteResponse complete(const v1::CompleteRequest& request, CallOptions options = {});
  // Has a request answered as the answer comes; 600 seconds by default. Never retried here.
  CompletionStream complete_stream(const v1::CompleteStreamRequest& request, CallOptions options = {});

  // Asks how a service is, by the standard health check, over every connection: kServing, or what the first other one says. The
  // empty name means the whole server. Also a way to connect before the first request.
  HealthStatus check_health(const std::string& service = "", CallOptions options = {});

  // Ends calls in flight with CallCancelledError and disconnects once they have ended. May be called again.
  void close();

 private:
  struct Lane;
  struct Lanes;

  std::shared_ptr<const Lanes> lanes() const;
  std::unique_ptr<Call> begin(const CallOptions& options, std::chrono::nanoseconds fallback) const;
  Outcome fail_open(const std::string& tier, std::shared_ptr<const Error> error);

  ClientOptions options_;
  std::string authorization_;
  std::shared_ptr<Cancellation> closing_ = std::make_shared<Cancellation>();
  mutable std::mutex mutex_;
  std::shared_ptr<const Lanes> lanes_;
  std::map<std::string, int64_t> fail_open_counts_;
};

}  // namespace turnout

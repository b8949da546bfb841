#include "turnout/client.h"

#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <future>

#include "connection.h"
#include "error_decoding.h"
#include "turnout/v1/completion.grpc.pb.h"
#include "turnout/v1/routing.grpc.pb.h"

namespace turnout {
namespace {

// The standard health check, without a library for it: both messages have one field, number 1, and so the wire form of a wrapper
// type. HealthCheckRequest.service is that of StringValue, HealthCheckResponse.status that of Int32Value.
using HealthStub = grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value>;
constexpr char kCheckMethod[] = "/grpc.health.v1.Health/Check";

const std::chrono::nanoseconds kRouteTimeout = default_timeout("turnout.v1.RoutingService/Route");
const std::chrono::nanoseconds kBatchTimeout = default_timeout("turnout.v1.RoutingService/RouteBatch");
const std::chrono::nanoseconds kStreamTimeout = default_timeout("turnout.v1.RoutingService/RouteStream");
const std::chrono::nanoseconds kCompleteTimeout = default_timeout("turnout.v1.CompletionService/Complete");
const std::chrono::nanoseconds kCompleteStreamTimeout = default_timeout("turnout.v1.CompletionService/CompleteStream");
const std::chrono::nanoseconds kHealthTimeout = default_timeout("grpc.health.v1.Health/Check");

}  // namespace

// One HTTP/2 connection and what is called over it.
struct Client::Lane {
  explicit Lane(const std::shared_ptr<grpc::Channel>& channel) : routing(channel), completion(channel), health(channel) {}

  v1::RoutingService::Stub routing;
  v1::CompletionService::Stub completion;
  HealthStub health;
};

struct Client::Lanes {
  std::vector<std::unique_ptr<Lane>> all;
  mutable std::atomic<size_t> turn{0};

  Lane& next() const { return *all[turn.fetch_add(1, std::memory_order_relaxed) % all.size()]; }
};

void check_end(const grpc::Status& status) {
  if (!status.ok()) decode_status(status)->raise();
}

Client::Client(const std::string& target, ClientOptions options)
    : options_(std::move(options)), authorization_(authorization_of(target, options_)) {
  auto lanes = std::make_shared<Lanes>();
  for (const auto& channel : open_channels(target, options_)) lanes->all.push_back(std::make_unique<Lane>(channel));
  lanes_ = std::move(lanes);
}

Client::~Client() { close(); }

v1::RouteResponse Client::route(const v1::RouteRequest& request, CallOptions options) {
  const auto lanes = this->lanes();
  const auto call = begin(options, options_.timeout.value_or(kRouteTimeout));
  v1::RouteResponse response;
  check_end(lanes->next().routing.Route(call->context(), request, &response));
  return response;
}

v1::RouteResponse Client::route(const std::string& prompt, CallOptions options) {
  v1::RouteRequest request;
  request.set_prompt(prompt);
  return route(request, options);
}

Outcome Client::route_or(const std::string& default_tier, const v1::RouteRequest& request, CallOptions options) {
  if (!options.timeout.has_value()) options.timeout = options_.route_or_timeout;
  const auto lanes = this->lanes();
  const auto call = begin(options, *options.timeout);
  v1::RouteResponse response;
  const grpc::Status status = lanes->next().routing.Route(call->context(), request, &response);
  if (status.ok()) return Outcome(std::move(response));
  std::shared_ptr<const Error> error = decode_status(status);
  if (dynamic_cast<const InvalidRequestError*>(error.get()) != nullptr) error->raise();
  return fail_open(default_tier, std::move(error));
}

Outcome Client::fail_open(const std::string& tier, std::shared_ptr<const Error> error) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++fail_open_counts_[error->label()];
  }
  if (options_.on_fail_open) {
    try {
      options_.on_fail_open(*error);
    } catch (...) {
      // A broken listener must not turn failing open into failing.
    }
  }
  v1::RouteResponse decision;
  decision.set_tier(tier);
  decision.set_status(v1::DECISION_STATUS_DEFAULTED);
  v1::Reason* reason = decision.add_reasons();
  reason->set_kind(v1::REASON_KIND_DEFAULT);
  reason->set_id(error->label());
  return Outcome(std::move(decision), std::move(error));
}

std::map<std::string, int64_t> Client::fail_open_counts() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return fail_open_counts_;
}

std::vector<Outcome> Client::route_batch(const std::vector<v1::RouteRequest>& requests, CallOptions options) {
  const auto lanes = this->lanes();
  std::vector<Outcome> outcomes;
  if (requests.empty()) return outcomes;
  v1::RouteBatchRequest batch;
  batch.mutable_requests()->Add(requests.begin(), requests.end());
  const auto call = begin(options, options_.timeout.value_or(kBatchTimeout));
  v1::RouteBatchResponse response;
  check_end(lanes->next().routing.RouteBatch(call->context(), batch, &response));
  if (response.results_size() != batch.requests_size()) {
    ErrorDetails details;
    details.code = grpc::StatusCode::INTERNAL;
    details.message = std::to_string(response.results_size()) + " results for " + std::to_string(batch.requests_size()) + " requests";
    throw InternalError(std::move(details));
  }
  for (v1::RouteResult& result : *response.mutable_results()) outcomes.push_back(Outcome::of(std::move(result)));
  return outcomes;
}

RouteStream Client::route_stream(CallOptions options) {
  const auto lanes = this->lanes();
  auto call = begin(options, kStreamTimeout);
  std::unique_ptr<grpc::ClientReaderWriterInterface<v1::RouteStreamRequest, v1::RouteStreamResponse>> reader =
      lanes->next().routing.RouteStream(call->context());
  return RouteStream(std::move(call), std::move(reader), lanes, [](v1::RouteStreamResponse&& response) {
    return Outcome::of(std::move(*response.mutable_result()));
  });
}

v1::CompleteResponse Client::complete(const v1::CompleteRequest& request, CallOptions options) {
  const auto lanes = this->lanes();
  const auto call = begin(options, kCompleteTimeout);
  v1::CompleteResponse response;
  check_end(lanes->next().completion.Complete(call->context(), request, &response));
  return response;
}

CompletionStream Client::complete_stream(const v1::CompleteStreamRequest& request, CallOptions options) {
  const auto lanes = this->lanes();
  auto call = begin(options, kCompleteStreamTimeout);
  std::unique_ptr<grpc::ClientReaderInterface<v1::CompleteStreamResponse>> reader =
      lanes->next().completion.CompleteStream(call->context(), request);
  return CompletionStream(std::move(call), std::move(reader), lanes,
                          [](v1::CompleteStreamResponse&& event) { return std::move(event); });
}

HealthStatus Client::check_health(const std::string& service, CallOptions options) {
  const auto lanes = this->lanes();
  google::protobuf::StringValue question;
  question.set_value(service);
  for (const auto& lane : lanes->all) {
    const auto call = begin(options, options_.timeout.value_or(kHealthTimeout));
    google::protobuf::Int32Value answer;
    std::promise<grpc::Status> ended;
    lane->health.UnaryCall(call->context(), kCheckMethod, grpc::StubOptions(), &question, &answer,
                           [&ended](grpc::Status status) { ended.set_value(std::move(status)); });
    const grpc::Status status = ended.get_future().get();
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return HealthStatus::kServiceUnknown;
    check_end(status);
    if (answer.value() < 0 || answer.value() > 3) return HealthStatus::kUnknown;
    if (answer.value() != 1) return static_cast<HealthStatus>(answer.value());
  }
  return HealthStatus::kServing;
}

void Client::close() {
  closing_->cancel();
  const std::lock_guard<std::mutex> lock(mutex_);
  // Calls and streams in flight keep their connection until they have ended.
  lanes_ = nullptr;
}

std::shared_ptr<const Client::Lanes> Client::lanes() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (lanes_ == nullptr) throw ClientClosedError();
  return lanes_;
}

std::unique_ptr<Call> Client::begin(const CallOptions& options, std::chrono::nanoseconds fallback) const {
  return std::make_unique<Call>(closing_, options.cancellation, options.timeout.value_or(fallback), authorization_);
}

}  // namespace turnout

#include "scripted_service.h"

#include <google/protobuf/any.pb.h>

#include <thread>

#include "turnout/details/google_rpc.pb.h"
#include "turnout/v1/completion.grpc.pb.h"
#include "turnout/v1/routing.grpc.pb.h"

namespace turnout {
namespace {

// Field 1000, which no version has: a varint.
constexpr char kUnknownField[] = "\xc0\x3e\x2a";
constexpr int kUnknownEnum = 99;

grpc::Status failure(grpc::StatusCode code, const std::string& reason, const std::string& key, const std::string& value) {
  details::ErrorInfo info;
  info.set_domain("turnout.v1");
  info.set_reason(reason);
  (*info.mutable_metadata())[key] = value;
  details::Status status;
  auto* packed = status.add_details();
  packed->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  packed->set_value(info.SerializeAsString());
  return grpc::Status(code, "for people", status.SerializeAsString());
}

void wait_until_cancelled(grpc::ServerContext* context) {
  eventually([&] { return context->IsCancelled(); });
}

void answer(const v1::RouteRequest& request, v1::RouteResponse* response) {
  response->set_tier("mid");
  response->set_policy(request.prompt());
}

}  // namespace

// Keeps what is seen of a call while it is under way.
class ScriptedService::Watch {
 public:
  Watch(ScriptedService* service, grpc::ServerContext* context) : service_(service) {
    ++service_->calls_;
    ++service_->calls_in_flight_;
    const std::lock_guard<std::mutex> lock(service_->mutex_);
    service_->peers_.insert(context->peer());
    service_->headers_.clear();
    for (const auto& [key, value] : context->client_metadata()) {
      service_->headers_.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
  }
  ~Watch() { --service_->calls_in_flight_; }

 private:
  ScriptedService* service_;
};

class ScriptedService::Routing final : public v1::RoutingService::Service {
 public:
  explicit Routing(ScriptedService* service) : service_(service) {}

  grpc::Status Route(grpc::ServerContext* context, const v1::RouteRequest* request, v1::RouteResponse* response) override {
    const Watch watch(service_, context);
    const std::string& policy = request->policy();
    if (policy == "slow") wait_until_cancelled(context);
    if (policy == "internal") return failure(grpc::StatusCode::INTERNAL, "INTERNAL", "incident", "a1");
    if (policy == "invalid") return failure(grpc::StatusCode::INVALID_ARGUMENT, "INVALID_FIELD", "field", "prompt");
    if (policy == "down") {
      context->AddTrailingMetadata("grpc-retry-pushback-ms", "1");
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "for people");
    }
    answer(*request, response);
    if (policy == "newer") {
      response->set_status(static_cast<v1::DecisionStatus>(kUnknownEnum));
      response->set_task(static_cast<v1::Task>(kUnknownEnum));
      response->ParseFromString(response->SerializeAsString() + kUnknownField);
    }
    return grpc::Status::OK;
  }

  grpc::Status RouteBatch(grpc::ServerContext* context, const v1::RouteBatchRequest* batch,
                          v1::RouteBatchResponse* response) override {
    const Watch watch(service_, context);
    for (const auto& request : batch->requests()) {
      answer(request, response->add_results()->mutable_response());
      if (request.policy() == "too-few") break;
    }
    return grpc::Status::OK;
  }

  grpc::Status RouteStream(grpc::ServerContext* context,
                           grpc::ServerReaderWriter<v1::RouteStreamResponse, v1::RouteStreamRequest>* stream) override {
    const Watch watch(service_, context);
    v1::RouteStreamRequest message;
    while (stream->Read(&message)) {
      if (message.request().policy() == "end") return grpc::Status(grpc::StatusCode::UNAVAILABLE, "for people");
      v1::RouteStreamResponse response;
      answer(message.request(), response.mutable_result()->mutable_response());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

 private:
  ScriptedService* service_;
};

class ScriptedService::Completion final : public v1::CompletionService::Service {
 public:
  explicit Completion(ScriptedService* service) : service_(service) {}

  grpc::Status Complete(grpc::ServerContext* context, const v1::CompleteRequest*, v1::CompleteResponse* response) override {
    const Watch watch(service_, context);
    response->set_tier("mid");
    return grpc::Status::OK;
  }

  // Goes on until the caller goes.
  grpc::Status CompleteStream(grpc::ServerContext* context, const v1::CompleteStreamRequest*,
                              grpc::ServerWriter<v1::CompleteStreamResponse>* stream) override {
    const Watch watch(service_, context);
    v1::CompleteStreamResponse event;
    event.mutable_text()->set_text(std::string(4096, 'o'));
    while (stream->Write(event)) {
    }
    return grpc::Status::CANCELLED;
  }

 private:
  ScriptedService* service_;
};

ScriptedService::ScriptedService(const std::shared_ptr<grpc::ServerCredentials>& credentials)
    : routing_(std::make_unique<Routing>(this)), completion_(std::make_unique<Completion>(this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
  builder.RegisterService(routing_.get());
  builder.RegisterService(completion_.get());
  server_ = builder.BuildAndStart();
}

ScriptedService::~ScriptedService() { stop(); }

void ScriptedService::stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_ = nullptr;
}

size_t ScriptedService::peers() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return peers_.size();
}

std::string ScriptedService::header(const std::string& name) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = headers_.find(name);
  return found == headers_.end() ? "" : found->second;
}

}  // namespace turnout

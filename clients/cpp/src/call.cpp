#include "turnout/call.h"

#include <stdexcept>
#include <utility>

#include "error_decoding.h"

namespace turnout {

void Cancellation::cancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
}

bool Cancellation::cancelled() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return cancelled_;
}

void Cancellation::add(grpc::ClientContext* context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  contexts_.insert(context);
  if (cancelled_) context->TryCancel();
}

void Cancellation::remove(grpc::ClientContext* context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  contexts_.erase(context);
}

Call::Call(std::shared_ptr<Cancellation> of_client, Cancellation* of_caller, std::chrono::nanoseconds timeout,
           const std::string& authorization)
    : of_client_(std::move(of_client)), of_caller_(of_caller) {
  if (timeout <= std::chrono::nanoseconds::zero()) {
    throw std::invalid_argument("timeout: " + std::to_string(timeout.count()) + " ns breaks the limit: more than 0");
  }
  context_.set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout));
  if (!authorization.empty()) context_.AddMetadata("authorization", authorization);
  of_client_->add(&context_);
  if (of_caller_ != nullptr) of_caller_->add(&context_);
}

Call::~Call() {
  if (of_caller_ != nullptr) of_caller_->remove(&context_);
  of_client_->remove(&context_);
}

Outcome Outcome::of(v1::RouteResult result) {
  switch (result.result_case()) {
    case v1::RouteResult::kResponse:
      return Outcome(std::move(*result.mutable_response()));
    case v1::RouteResult::kError:
      return Outcome(decode_item(result.error()));
    default:
      // A kind of result that a newer server knows.
      ErrorDetails details;
      details.message = "a result of an unknown kind";
      return Outcome(std::make_shared<Error>(std::move(details)));
  }
}

const v1::RouteResponse& Outcome::decision() const {
  if (!decision_.has_value()) error_->raise();
  return *decision_;
}

}  // namespace turnout

// One call: its deadline, its cancellation, and what comes back.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "turnout/errors.h"

namespace turnout {

// Cancels calls from another thread: those that were given it, and those that are given it later. Outlives them.
class Cancellation {
 public:
  void cancel();
  bool cancelled() const;

 private:
  friend class Call;
  void add(grpc::ClientContext* context);
  void remove(grpc::ClientContext* context);

  mutable std::mutex mutex_;
  std::unordered_set<grpc::ClientContext*> contexts_;
  bool cancelled_ = false;
};

// How to make one call. A duration alone is its deadline: `client.route(request, 200ms)`.
struct CallOptions {
  CallOptions() = default;
  template <class Rep, class Period>
  CallOptions(std::chrono::duration<Rep, Period> timeout)  // NOLINT: meant to convert.
      : timeout(std::chrono::duration_cast<std::chrono::nanoseconds>(timeout)) {}
  CallOptions(Cancellation* cancellation) : cancellation(cancellation) {}  // NOLINT: meant to convert.

  // Empty: the client's own default.
  std::optional<std::chrono::nanoseconds> timeout;
  Cancellation* cancellation = nullptr;
};

// A call in flight, known to what may cancel it. The client's own; programs need no more of it than streams hold.
class Call {
 public:
  // Throws std::invalid_argument for a deadline that is not positive.
  Call(std::shared_ptr<Cancellation> of_client, Cancellation* of_caller, std::chrono::nanoseconds timeout,
       const std::string& authorization);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }

 private:
  std::shared_ptr<Cancellation> of_client_;
  Cancellation* of_caller_;
  grpc::ClientContext context_;
};

// What became of one request: of a batch, of a stream, or of `route_or`.
class Outcome {
 public:
  explicit Outcome(v1::RouteResponse decision, std::shared_ptr<const Error> error = nullptr)
      : decision_(std::move(decision)), error_(std::move(error)) {}
  explicit Outcome(std::shared_ptr<const Error> error) : error_(std::move(error)) {}
  static Outcome of(v1::RouteResult result);

  // The decision; where `fell_back`, the caller's own. Throws the error where there is none.
  const v1::RouteResponse& decision() const;
  // Why the service gave no decision; null where it did.
  const Error* error() const { return error_.get(); }
  // Whether the decision is the caller's default, because the service gave none.
  bool fell_back() const { return decision_.has_value() && error_ != nullptr; }

 private:
  std::optional<v1::RouteResponse> decision_;
  std::shared_ptr<const Error> error_;
};

}  // namespace turnout

// What a call can fail with. One class for each thing that a caller would do differently.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>

#include "turnout/v1/completion.pb.h"
#include "turnout/v1/routing.pb.h"

namespace turnout {

// What is known of a failed call.
struct ErrorDetails {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  // A name of turnout.v1.ErrorReason without its prefix, or a newer service's own; UNSPECIFIED where the error came from gRPC or
  // a proxy.
  std::string reason = "UNSPECIFIED";
  // For people; never holds the caller's text.
  std::string message;
  // Of the reason, as turnout/v1/error_reason.proto lists it.
  std::map<std::string, std::string> metadata;
  // When the service asks to come back; empty where it does not say.
  std::optional<std::chrono::nanoseconds> retry_after;
  // What was done for a completion that failed; empty where nothing was asked upstream.
  std::optional<v1::CompleteFailure> failure;
};

// A call failed. Thrown as itself where the status code is none that a class below stands for. None holds the prompt.
class Error : public std::runtime_error {
 public:
  explicit Error(ErrorDetails details);

  grpc::StatusCode code() const { return details_.code; }
  const std::string& reason() const { return details_.reason; }
  const std::string& message() const { return details_.message; }
  const std::map<std::string, std::string>& metadata() const { return details_.metadata; }
  std::optional<std::chrono::nanoseconds> retry_after() const { return details_.retry_after; }
  const std::optional<v1::CompleteFailure>& failure() const { return details_.failure; }
  // A name to count by: the reason, or the status code's name where there is none.
  std::string label() const;
  // Why no deployment could answer a completion: for each fault, such as "rate_limited", how many attempts ended so or
  // deployments were closed for it.
  std::map<std::string, int> causes() const;
  // One of the metadata; empty where it is not there.
  std::string metadata_value(const std::string& key) const;
  // Throws this error as the class that it is.
  [[noreturn]] virtual void raise() const { throw *this; }

 private:
  ErrorDetails details_;
};

// Gives a class of error its own `raise`.
template <class Kind>
class ErrorOfKind : public Error {
 public:
  using Error::Error;
  [[noreturn]] void raise() const override { throw static_cast<const Kind&>(*this); }
};

// The request breaks the contract, or its message is too large: asking again does not help (INVALID_ARGUMENT).
class InvalidRequestError : public ErrorOfKind<InvalidRequestError> {
 public:
  using ErrorOfKind::ErrorOfKind;
  // The field at fault, such as "constraints.min_tier" or "messages[3].role"; empty if none is.
  std::string field() const { return metadata_value("field"); }
  // What was given, shortened; empty where it is the caller's text.
  std::string value() const { return metadata_value("value"); }
  // What is allowed; empty where there is no such thing.
  std::string limit() const { return metadata_value("limit"); }
};

// The constraints leave no deployment that could serve (FAILED_PRECONDITION).
class NoCandidateError : public ErrorOfKind<NoCandidateError> {
 public:
  using ErrorOfKind::ErrorOfKind;
  // The constraint that removed the last candidate, such as region or cost; empty where the service does not say.
  std::string constraint() const { return metadata_value("constraint"); }
};

// The service, or something before it, is at its limit (RESOURCE_EXHAUSTED). See `retry_after`.
class OverloadedError : public ErrorOfKind<OverloadedError> {
 public:
  using ErrorOfKind::ErrorOfKind;
};

// The service cannot be reached, drains or is not warm yet, or no deployment could answer (UNAVAILABLE). See `causes`.
class UnavailableError : public ErrorOfKind<UnavailableError> {
 public:
  using ErrorOfKind::ErrorOfKind;
};

// The deadline passed before there was an answer (DEADLINE_EXCEEDED).
class DeadlineExceededError : public ErrorOfKind<DeadlineExceededError> {
 public:
  using ErrorOfKind::ErrorOfKind;
};

// The call was cancelled: by the caller, by closing the client, or by the service (CANCELLED).
class CallCancelledError : public ErrorOfKind<CallCancelledError> {
 public:
  using ErrorOfKind::ErrorOfKind;
};

// No credentials, or credentials that do not suffice (UNAUTHENTICATED, PERMISSION_DENIED).
class AccessDeniedError : public ErrorOfKind<AccessDeniedError> {
 public:
  using ErrorOfKind::ErrorOfKind;
};

// A defect of the service (INTERNAL, UNKNOWN, DATA_LOSS).
class InternalError : public ErrorOfKind<InternalError> {
 public:
  using ErrorOfKind::ErrorOfKind;
  // The name under which the cause is in the service's log; empty where it gives none.
  std::string incident() const { return metadata_value("incident"); }
};

// A client was used after `close`. A defect of the caller, so no Error: `route_or` throws it.
class ClientClosedError : public std::logic_error {
 public:
  ClientClosedError() : std::logic_error("the client is closed") {}
};

// The name of a status code, such as "INVALID_ARGUMENT".
std::string code_name(grpc::StatusCode code);

}  // namespace turnout

#include "turnout/errors.h"

#include <algorithm>
#include <regex>

#include "error_decoding.h"
#include "turnout/details/google_rpc.pb.h"

namespace turnout {
namespace {

constexpr char kDomain[] = "turnout.v1";
constexpr char kUnspecified[] = "UNSPECIFIED";
constexpr char kReasonPrefix[] = "ERROR_REASON_";

constexpr const char* kCodeNames[] = {
    "OK",           "CANCELLED",        "UNKNOWN",       "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",       "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL",         "UNAVAILABLE",   "DATA_LOSS",          "UNAUTHENTICATED"};
constexpr int kLastCode = 16;

std::string label_of(const ErrorDetails& details) {
  return details.reason == kUnspecified ? code_name(details.code) : details.reason;
}

std::string describe(const ErrorDetails& details) {
  const std::string code = code_name(details.code), label = label_of(details);
  const std::string status = label == code ? code : code + " (" + label + ")";
  return details.message.empty() ? status : status + ": " + details.message;
}

// Reads a detail if it is of the message with that full name, whatever comes before it in the type's URL.
template <class Message>
bool unpack(const google::protobuf::Any& packed, const std::string& full_name, Message* message) {
  const std::string& url = packed.type_url();
  const std::string::size_type slash = url.rfind('/');
  if (slash == std::string::npos || url.compare(slash + 1, std::string::npos, full_name) != 0) return false;
  return message->ParseFromString(packed.value());
}

std::chrono::nanoseconds to_duration(const google::protobuf::Duration& delay) {
  // As far as 64 bits of nanoseconds reach.
  const int64_t seconds = std::clamp<int64_t>(delay.seconds(), 0, 9'000'000'000);
  return std::chrono::seconds(seconds) + std::chrono::nanoseconds(std::max(delay.nanos(), 0));
}

// True if the details give a reason.
bool read_details(const std::string& bytes, ErrorDetails* found) {
  details::Status status;
  if (bytes.empty() || !status.ParseFromString(bytes)) return false;
  bool reasoned = false;
  for (const google::protobuf::Any& packed : status.details()) {
    details::ErrorInfo info;
    details::BadRequest bad;
    details::RetryInfo retry;
    v1::CompleteFailure failure;
    if (unpack(packed, "google.rpc.ErrorInfo", &info)) {
      // Another domain's reasons are not ours, whatever their names.
      if (info.domain() != kDomain) continue;
      reasoned = true;
      found->reason = info.reason().empty() ? kUnspecified : info.reason();
      for (const auto& [key, value] : info.metadata()) found->metadata[key] = value;
    } else if (unpack(packed, "google.rpc.BadRequest", &bad)) {
      for (const auto& violation : bad.field_violations()) found->metadata.emplace("field", violation.field());
    } else if (unpack(packed, "google.rpc.RetryInfo", &retry)) {
      found->retry_after = to_duration(retry.retry_delay());
    } else if (unpack(packed, "turnout.v1.CompleteFailure", &failure)) {
      found->failure = std::move(failure);
    }
  }
  return reasoned;
}

}  // namespace

std::string code_name(grpc::StatusCode code) {
  return code >= 0 && code <= kLastCode ? kCodeNames[code] : "UNKNOWN";
}

Error::Error(ErrorDetails details) : std::runtime_error(describe(details)), details_(std::move(details)) {}

std::string Error::label() const { return label_of(details_); }

std::string Error::metadata_value(const std::string& key) const {
  const auto found = details_.metadata.find(key);
  return found == details_.metadata.end() ? "" : found->second;
}

std::map<std::string, int> Error::causes() const {
  static const std::regex kCause("([a-z_]+)=([0-9]{1,9})");
  const std::string text = metadata_value("causes");
  std::map<std::string, int> causes;
  for (std::sregex_iterator at(text.begin(), text.end(), kCause), end; at != end; ++at) {
    causes[(*at)[1]] = std::stoi((*at)[2]);
  }
  return causes;
}

std::shared_ptr<const Error> decode_status(const grpc::Status& status) {
  // The words of gRPC, and its only sign, for a message beyond a limit of one of both sides.
  static const std::regex kTooLarge(
      "((?:CLIENT: )?Sent|SERVER: Received) message larger than max \\(([0-9]+) vs\\. ([0-9]+)\\)");
  ErrorDetails details;
  details.code = status.error_code();
  details.message = status.error_message();
  const bool reasoned = read_details(status.error_details(), &details);
  if (!reasoned && details.code == grpc::StatusCode::RESOURCE_EXHAUSTED &&
      details.message.find("larger than max") != std::string::npos) {
    std::smatch found;
    if (!std::regex_search(details.message, found, kTooLarge)) return std::make_shared<Error>(std::move(details));
    const std::string value = found[2], limit = found[3];
    details.metadata = {{"value", value + " bytes"}, {"limit", limit + " bytes"}};
    return std::make_shared<InvalidRequestError>(std::move(details));
  }
  return classify(std::move(details));
}

std::shared_ptr<const Error> decode_item(const v1::RouteError& error) {
  ErrorDetails details;
  details.code = error.code() >= 0 && error.code() <= kLastCode ? static_cast<grpc::StatusCode>(error.code())
                                                                : grpc::StatusCode::UNKNOWN;
  // Of a newer server's reason an item has the number only.
  details.reason = v1::ErrorReason_IsValid(error.reason())
                       ? v1::ErrorReason_Name(error.reason()).substr(sizeof kReasonPrefix - 1)
                       : "UNKNOWN_" + std::to_string(error.reason());
  details.message = error.message();
  if (!error.field().empty()) details.metadata["field"] = error.field();
  return classify(std::move(details));
}

std::shared_ptr<const Error> classify(ErrorDetails details) {
  if (details.reason == "NO_CANDIDATE") return std::make_shared<NoCandidateError>(std::move(details));
  switch (details.code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
      return std::make_shared<InvalidRequestError>(std::move(details));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return std::make_shared<OverloadedError>(std::move(details));
    case grpc::StatusCode::UNAVAILABLE:
      return std::make_shared<UnavailableError>(std::move(details));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return std::make_shared<DeadlineExceededError>(std::move(details));
    case grpc::StatusCode::CANCELLED:
      return std::make_shared<CallCancelledError>(std::move(details));
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return std::make_shared<AccessDeniedError>(std::move(details));
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::DATA_LOSS:
      return std::make_shared<InternalError>(std::move(details));
    default:
      return std::make_shared<Error>(std::move(details));
  }
}

}  // namespace turnout

// What the client makes of errors, those of newer services and of strangers too.
#include <google/protobuf/any.pb.h>
#include <gtest/gtest.h>

#include "connection.h"
#include "error_decoding.h"
#include "turnout/details/google_rpc.pb.h"

namespace turnout {
namespace {

google::protobuf::Any packed(const std::string& name, const google::protobuf::Message& message) {
  google::protobuf::Any any;
  any.set_type_url("type.googleapis.com/" + name);
  any.set_value(message.SerializeAsString());
  return any;
}

google::protobuf::Any info(const std::string& reason, const std::map<std::string, std::string>& metadata = {},
                           const std::string& domain = "turnout.v1") {
  details::ErrorInfo info;
  info.set_domain(domain);
  info.set_reason(reason);
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  return packed("google.rpc.ErrorInfo", info);
}

std::shared_ptr<const Error> decode(grpc::StatusCode code, const std::vector<google::protobuf::Any>& details,
                                    const std::string& words = "words") {
  details::Status status;
  for (const auto& one : details) *status.add_details() = one;
  return decode_status(grpc::Status(code, words, status.SerializeAsString()));
}

template <class Kind>
bool is(const std::shared_ptr<const Error>& error) {
  try {
    error->raise();
  } catch (const Kind&) {
    return true;
  } catch (const Error&) {
  }
  return false;
}

TEST(Errors, AnInvalidRequestNamesItsField) {
  const auto error = decode(grpc::INVALID_ARGUMENT, {info("UNKNOWN_TIER", {{"field", "constraints.min_tier"}, {"value", "huge"}})});
  try {
    error->raise();
  } catch (const InvalidRequestError& caught) {
    EXPECT_EQ(caught.field(), "constraints.min_tier");
    EXPECT_EQ(caught.value(), "huge");
    EXPECT_EQ(caught.limit(), "");
    EXPECT_STREQ(caught.what(), "INVALID_ARGUMENT (UNKNOWN_TIER): words");
  }
}

TEST(Errors, TheFieldOfABadRequestServesWhereTheReasonNamesNone) {
  details::BadRequest bad;
  bad.add_field_violations()->set_field("policy");
  const auto error = decode(grpc::INVALID_ARGUMENT, {info("INVALID_FIELD"), packed("google.rpc.BadRequest", bad)});
  EXPECT_EQ(error->metadata_value("field"), "policy");
}

TEST(Errors, OverloadedSaysWhenToComeBack) {
  details::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  const auto error = decode(grpc::RESOURCE_EXHAUSTED, {info("OVERLOADED"), packed("google.rpc.RetryInfo", retry)});
  EXPECT_TRUE(is<OverloadedError>(error));
  EXPECT_EQ(error->retry_after(), std::chrono::milliseconds(1500));
}

TEST(Errors, ADelayBeyondAllTimesIsBounded) {
  details::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(INT64_MAX);
  retry.mutable_retry_delay()->set_nanos(-1);
  EXPECT_GT(*decode(grpc::UNAVAILABLE, {packed("google.rpc.RetryInfo", retry)})->retry_after(), std::chrono::hours(1));
}

TEST(Errors, UnavailableTellsItsCauses) {
  v1::CompleteFailure failure;
  failure.set_tier("mid");
  const auto error = decode(grpc::UNAVAILABLE, {info("UPSTREAM_UNAVAILABLE", {{"causes", "rate_limited=2, connection=1"}}),
                                                packed("turnout.v1.CompleteFailure", failure)});
  EXPECT_TRUE(is<UnavailableError>(error));
  EXPECT_EQ(error->causes(), (std::map<std::string, int>{{"rate_limited", 2}, {"connection", 1}}));
  EXPECT_EQ(error->failure()->tier(), "mid");
}

TEST(Errors, EveryCodeHasAClass) {
  for (int code = 1; code <= 16; ++code) {
    const auto error = decode(static_cast<grpc::StatusCode>(code), {}, "");
    const bool other = code == grpc::NOT_FOUND || code == grpc::ALREADY_EXISTS || code == grpc::FAILED_PRECONDITION ||
                       code == grpc::ABORTED || code == grpc::OUT_OF_RANGE || code == grpc::UNIMPLEMENTED;
    EXPECT_EQ(is<InvalidRequestError>(error), code == grpc::INVALID_ARGUMENT) << code;
    EXPECT_EQ(is<OverloadedError>(error), code == grpc::RESOURCE_EXHAUSTED) << code;
    EXPECT_EQ(is<UnavailableError>(error), code == grpc::UNAVAILABLE) << code;
    EXPECT_EQ(is<DeadlineExceededError>(error), code == grpc::DEADLINE_EXCEEDED) << code;
    EXPECT_EQ(is<CallCancelledError>(error), code == grpc::CANCELLED) << code;
    EXPECT_EQ(is<AccessDeniedError>(error), code == grpc::UNAUTHENTICATED || code == grpc::PERMISSION_DENIED) << code;
    EXPECT_EQ(is<InternalError>(error), code == grpc::INTERNAL || code == grpc::UNKNOWN || code == grpc::DATA_LOSS) << code;
    EXPECT_EQ(typeid(*error) == typeid(Error), other) << code;
    EXPECT_EQ(error->label(), error->what());
  }
  EXPECT_EQ(code_name(static_cast<grpc::StatusCode>(77)), "UNKNOWN");
}

TEST(Errors, ReasonsOfTheFutureAndOfOthersBreakNothing) {
  const auto newer = decode(grpc::ABORTED, {packed("of.the.Future", details::ErrorInfo()), info("FROM_THE_FUTURE")});
  EXPECT_EQ(newer->reason(), "FROM_THE_FUTURE");
  EXPECT_EQ(decode(grpc::ABORTED, {info("NO_CANDIDATE", {}, "example.com")})->reason(), "UNSPECIFIED");
  EXPECT_TRUE(is<NoCandidateError>(decode(grpc::FAILED_PRECONDITION, {info("NO_CANDIDATE")})));
}

TEST(Errors, GarbledDetailsLeaveTheCode) {
  EXPECT_TRUE(is<OverloadedError>(decode_status(grpc::Status(grpc::RESOURCE_EXHAUSTED, "words", "\xff\xff\xff"))));
  google::protobuf::Any garbled;
  garbled.set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  garbled.set_value("\xff");
  EXPECT_EQ(decode(grpc::UNAVAILABLE, {garbled, info("NOT_SERVING")})->reason(), "NOT_SERVING");
}

TEST(Errors, AMessageThatIsTooLargeIsTheCallersFault) {
  for (const char* words : {"Sent message larger than max (20 vs. 10)", "CLIENT: Sent message larger than max (20 vs. 10)",
                            "SERVER: Received message larger than max (20 vs. 10)"}) {
    const auto error = decode(grpc::RESOURCE_EXHAUSTED, {}, words);
    EXPECT_TRUE(is<InvalidRequestError>(error)) << words;
    EXPECT_EQ(error->metadata_value("value"), "20 bytes");
    EXPECT_EQ(error->metadata_value("limit"), "10 bytes");
  }
  const auto answer = decode(grpc::RESOURCE_EXHAUSTED, {}, "CLIENT: Received message larger than max (20 vs. 10)");
  EXPECT_TRUE(typeid(*answer) == typeid(Error));
}

TEST(Errors, AnItemsErrorHasItsReasonsNumberAtLeast) {
  v1::RouteError known;
  known.set_code(9);
  known.set_reason(v1::ERROR_REASON_NO_CANDIDATE);
  EXPECT_TRUE(is<NoCandidateError>(decode_item(known)));
  v1::RouteError newer;
  newer.set_code(99);
  newer.set_reason(static_cast<v1::ErrorReason>(99));
  newer.set_field("prompt");
  EXPECT_EQ(decode_item(newer)->reason(), "UNKNOWN_99");
  EXPECT_EQ(decode_item(newer)->code(), grpc::UNKNOWN);
  EXPECT_EQ(decode_item(newer)->metadata_value("field"), "prompt");
}

TEST(Connection, ATokenStaysOnThisMachineWithoutTls) {
  ClientOptions options;
  options.token = "t";
  for (const char* target : {"localhost", "localhost:1", "dns:///localhost:1", "127.0.0.1:1", "127.1.2.3", "[::1]:1", "::1",
                             "unix:/run/a", "ipv4:127.0.0.1:1"}) {
    EXPECT_EQ(authorization_of(target, options), "Bearer t") << target;
  }
  for (const char* target : {"router.internal:1", "127.0.0.1.example.com", "localhost.example.com:1", "10.0.0.1", "[::2]:1",
                             "dns:///a", "ipv4:127.0.0.1:1,10.0.0.1:1", ""}) {
    EXPECT_THROW(authorization_of(target, options), std::invalid_argument) << target;
  }
  options.tls = TlsConfig{};
  EXPECT_EQ(authorization_of("router.internal:1", options), "Bearer t");
  options.token = "a b";
  EXPECT_THROW(authorization_of("localhost", options), std::invalid_argument);
}

TEST(Connection, TimeoutsAreDefaultsAndNoCeilings) {
  EXPECT_EQ(default_timeout("turnout.v1.RoutingService/Route"), std::chrono::seconds(1));
  EXPECT_EQ(default_timeout("turnout.v1.RoutingService/RouteBatch"), std::chrono::seconds(5));
  EXPECT_EQ(default_timeout("turnout.v1.RoutingService/RouteStream"), std::chrono::hours(1));
  EXPECT_EQ(default_timeout("turnout.v1.CompletionService/Complete"), std::chrono::seconds(120));
  EXPECT_EQ(default_timeout("turnout.v1.CompletionService/CompleteStream"), std::chrono::seconds(600));
  EXPECT_EQ(default_timeout("grpc.health.v1.Health/Check"), std::chrono::seconds(1));
}

TEST(Connection, RefusesWhatBreaksALimit) {
  const auto opening = [](auto change) {
    ClientOptions options;
    change(options);
    return open_channels("localhost:1", options).size();
  };
  EXPECT_EQ(opening([](ClientOptions& options) { options.connections = 3; }), 3U);
  EXPECT_THROW(opening([](ClientOptions& options) { options.connections = 0; }), std::invalid_argument);
  EXPECT_THROW(opening([](ClientOptions& options) { options.connections = 257; }), std::invalid_argument);
  EXPECT_THROW(opening([](ClientOptions& options) { options.user_agent = "a\n"; }), std::invalid_argument);
  EXPECT_THROW(opening([](ClientOptions& options) { options.tls = TlsConfig{"", "key", "", ""}; }), std::invalid_argument);
  EXPECT_THROW(opening([](ClientOptions& options) {
                 options.tls = TlsConfig{};
                 options.credentials = grpc::InsecureChannelCredentials();
               }),
               std::invalid_argument);
}

}  // namespace
}  // namespace turnout

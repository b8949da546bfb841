// Runs the cases of tests/conformance through this client; its README has the forms of what is read and written. One argument: the
// path of cases.json.
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>
#include <turnout/client.h>

#include <condition_variable>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace {

namespace v1 = turnout::v1;
using google::protobuf::Message;
using google::protobuf::Struct;
using google::protobuf::Value;

template <class Parsed>
Parsed parse(const std::string& json) {
  Parsed message;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &message);
  if (!status.ok()) throw std::invalid_argument(status.ToString());
  return message;
}

std::string to_json(const Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json);
  if (!status.ok()) throw std::invalid_argument(status.ToString());
  return json;
}

Struct message_form(const Message& message) {
  google::protobuf::BytesValue bytes;
  bytes.set_value(message.SerializeAsString());
  // Bytes as JSON are a text in base64.
  const std::string quoted = to_json(bytes);
  Struct form;
  (*form.mutable_fields())["base64"].set_string_value(quoted.substr(1, quoted.size() - 2));
  return form;
}

const char* kind_of(const turnout::Error& error) {
  if (dynamic_cast<const turnout::InvalidRequestError*>(&error)) return "invalid_request";
  if (dynamic_cast<const turnout::NoCandidateError*>(&error)) return "no_candidate";
  if (dynamic_cast<const turnout::OverloadedError*>(&error)) return "overloaded";
  if (dynamic_cast<const turnout::UnavailableError*>(&error)) return "unavailable";
  if (dynamic_cast<const turnout::DeadlineExceededError*>(&error)) return "deadline_exceeded";
  if (dynamic_cast<const turnout::CallCancelledError*>(&error)) return "cancelled";
  if (dynamic_cast<const turnout::AccessDeniedError*>(&error)) return "access_denied";
  if (dynamic_cast<const turnout::InternalError*>(&error)) return "internal";
  return "other";
}

Struct error_form(const turnout::Error& error) {
  Struct form;
  auto& fields = *form.mutable_fields();
  fields["kind"].set_string_value(kind_of(error));
  fields["code"].set_string_value(turnout::code_name(error.code()));
  fields["reason"].set_string_value(error.reason());
  fields["field"].set_string_value(error.metadata_value("field"));
  auto& metadata = *fields["metadata"].mutable_struct_value()->mutable_fields();
  for (const auto& [key, value] : error.metadata()) metadata[key].set_string_value(value);
  if (const auto after = error.retry_after()) {
    fields["retry_after_s"].set_number_value(std::chrono::duration<double>(*after).count());
  } else {
    fields["retry_after_s"].set_null_value(google::protobuf::NULL_VALUE);
  }
  return form;
}

Struct outcome_form(const turnout::Outcome& one) {
  Struct form;
  if (one.error() != nullptr) {
    *(*form.mutable_fields())["error"].mutable_struct_value() = error_form(*one.error());
  } else {
    *(*form.mutable_fields())["response"].mutable_struct_value() = message_form(one.decision());
  }
  return form;
}

// Calls something after a time, unless it ends before.
class Timer {
 public:
  Timer(double seconds, std::function<void()> action) : thread_([this, seconds, action = std::move(action)] {
    std::unique_lock<std::mutex> lock(mutex_);
    if (!ended_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return done_; })) action();
  }) {}
  ~Timer() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      done_ = true;
    }
    ended_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  std::thread thread_;
};

class Case {
 public:
  explicit Case(const Struct& given) : given_(given.fields()) {}

  Struct run() {
    turnout::ClientOptions options;
    options.connections = static_cast<int>(number("connections").value_or(1));
    turnout::Client client(text("address"), options);
    try {
      call(client);
    } catch (const turnout::Error& error) {
      *fields_["error"].mutable_struct_value() = error_form(error);
    }
    double failed_open = 0;
    for (const auto& [label, count] : client.fail_open_counts()) failed_open += static_cast<double>(count);
    fields_["failed_open"].set_number_value(failed_open);
    return outcome_;
  }

 private:
  void call(turnout::Client& client) {
    const std::string operation = text("operation");
    turnout::Cancellation cancellation;
    turnout::CallOptions options(&cancellation);
    if (const auto timeout = number("timeout_s")) options = std::chrono::duration<double>(*timeout);
    options.cancellation = &cancellation;
    std::optional<Timer> timer;
    if (const auto after = number("cancel_after_s")) timer.emplace(*after, [&] { cancellation.cancel(); });
    if (operation == "route") {
      respond(client.route(request<v1::RouteRequest>(0), options));
    } else if (operation == "route_or") {
      const auto one = client.route_or(text("default_tier"), request<v1::RouteRequest>(0), options);
      fields_["tier"].set_string_value(one.decision().tier());
      fields_["fell_back"].set_bool_value(one.fell_back());
      if (!one.fell_back()) respond(one.decision());
    } else if (operation == "route_batch") {
      for (const auto& one : client.route_batch(requests(), options)) add("results", outcome_form(one));
    } else if (operation == "route_stream") {
      auto stream = client.route_stream(options);
      for (const auto& one : requests()) stream.send(one);
      stream.finish();
      collect(stream, "results", outcome_form);
    } else if (operation == "complete") {
      respond(client.complete(request<v1::CompleteRequest>(0), options));
    } else if (operation == "complete_stream") {
      auto stream = client.complete_stream(request<v1::CompleteStreamRequest>(0), options);
      collect(stream, "events", [](const v1::CompleteStreamResponse& event) { return message_form(event); });
    } else if (operation == "check_health") {
      static constexpr const char* kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
      fields_["health"].set_string_value(kNames[static_cast<int>(client.check_health())]);
    } else {
      throw std::invalid_argument("operation: " + operation);
    }
  }

  template <class Stream, class Form>
  void collect(Stream& stream, const char* key, Form form) {
    fields_[key].mutable_list_value();
    const double most = number("cancel_after_events").value_or(std::numeric_limits<double>::infinity());
    double count = 0;
    for (auto& one : stream) {
      add(key, form(one));
      if (++count == most) break;
    }
  }

  void respond(const Message& message) { *fields_["response"].mutable_struct_value() = message_form(message); }

  void add(const char* key, Struct form) {
    *fields_[key].mutable_list_value()->add_values()->mutable_struct_value() = std::move(form);
  }

  std::string text(const char* key) const { return given_.at(key).string_value(); }

  std::optional<double> number(const char* key) const {
    const auto found = given_.find(key);
    return found == given_.end() ? std::nullopt : std::optional<double>(found->second.number_value());
  }

  template <class Request>
  Request request(int at) const {
    const Value& one = given_.at("requests").list_value().values(at);
    const std::string& base64 = one.struct_value().fields().at("base64").string_value();
    Request request;
    if (!request.ParseFromString(parse<google::protobuf::BytesValue>('"' + base64 + '"').value())) {
      throw std::invalid_argument("requests: not a message");
    }
    return request;
  }

  std::vector<v1::RouteRequest> requests() const {
    std::vector<v1::RouteRequest> all;
    for (int at = 0; at < given_.at("requests").list_value().values_size(); ++at) all.push_back(request<v1::RouteRequest>(at));
    return all;
  }

  const google::protobuf::Map<std::string, Value>& given_;
  Struct outcome_;
  google::protobuf::Map<std::string, Value>& fields_ = *outcome_.mutable_fields();
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: conformance_runner cases.json\n";
    return 2;
  }
  std::ifstream file(arguments[1]);
  std::stringstream text;
  text << file.rdbuf();
  const Struct document = parse<Struct>(text.str());
  for (const Value& given : document.fields().at("cases").list_value().values()) {
    Struct result;
    (*result.mutable_fields())["id"] = given.struct_value().fields().at("id");
    *(*result.mutable_fields())["outcome"].mutable_struct_value() = Case(given.struct_value()).run();
    std::cout << to_json(result) << std::endl;
  }
}

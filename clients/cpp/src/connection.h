// How a client connects: checked once, and turned into gRPC's terms.
#pragma once

#include <grpcpp/channel.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "turnout/client.h"

namespace turnout {

// Channels of a client; nothing is connected yet. Throws std::invalid_argument where an option breaks its limit.
std::vector<std::shared_ptr<grpc::Channel>> open_channels(const std::string& target, const ClientOptions& options);

// The value of the header that carries the token; empty where there is none. Throws std::invalid_argument where it would cross a
// network in clear text, or is no header value; it is not shown.
std::string authorization_of(const std::string& target, const ClientOptions& options);

// True if a gRPC target is a Unix socket or one loopback address; false in doubt.
bool stays_on_machine(const std::string& target);

// The default deadline of a method, "service/method", of the service config.
std::chrono::nanoseconds default_timeout(std::string_view method);

}  // namespace turnout

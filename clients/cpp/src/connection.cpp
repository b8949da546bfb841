#include "connection.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <regex>
#include <stdexcept>

#include "service_config.h"

namespace turnout {
namespace {

// Of a message, both ways; the server's own default.
constexpr int kMaxMessageBytes = 16 << 20;
constexpr int kMaxConnections = 256;

bool all_between(const std::string& text, char first, char last) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return c >= first && c <= last; });
}

std::shared_ptr<grpc::ChannelCredentials> credentials_of(const ClientOptions& options) {
  if (options.credentials != nullptr) return options.credentials;
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  const TlsConfig& tls = *options.tls;
  return grpc::SslCredentials({tls.root_certificates, tls.private_key, tls.certificate_chain});
}

grpc::ChannelArguments arguments_of(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  const std::string more = options.user_agent.empty() ? "" : " " + options.user_agent;
  arguments.SetUserAgentPrefix(std::string("turnout-cpp/") + kVersion + more);
  arguments.SetServiceConfigJSON(kChannelConfig);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // A request larger than the buffer would be sent once only.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0);
  // gRPC's own ceiling of 120 s would keep clients away for two minutes after an outage.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // Else gRPC lets channels of equal options share one connection.
  if (options.connections > 1) arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (options.tls.has_value() && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return arguments;
}

}  // namespace

std::vector<std::shared_ptr<grpc::Channel>> open_channels(const std::string& target, const ClientOptions& options) {
  if (options.tls.has_value()) {
    if (options.credentials != nullptr) throw std::invalid_argument("tls and credentials: one or neither");
    if (options.tls->private_key.empty() != options.tls->certificate_chain.empty()) {
      throw std::invalid_argument("tls.private_key and tls.certificate_chain: both or neither");
    }
  }
  if (options.connections < 1 || options.connections > kMaxConnections) {
    throw std::invalid_argument("connections: " + std::to_string(options.connections) + " breaks the limit: 1 to " +
                                std::to_string(kMaxConnections));
  }
  if (!all_between(options.user_agent, ' ', '~')) {
    throw std::invalid_argument("user_agent: printable ASCII is needed");
  }
  const auto credentials = credentials_of(options);
  const grpc::ChannelArguments arguments = arguments_of(options);
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < options.connections; ++i) {
    channels.push_back(grpc::CreateCustomChannel(target, credentials, arguments));
  }
  return channels;
}

std::string authorization_of(const std::string& target, const ClientOptions& options) {
  if (options.token.empty()) return "";
  if (!all_between(options.token, '!', '~')) {
    throw std::invalid_argument("token: printable ASCII without spaces is needed");
  }
  if (!options.tls.has_value() && options.credentials == nullptr && !stays_on_machine(target)) {
    throw std::invalid_argument("token: " + target + " is not on this machine, so tls or credentials are needed");
  }
  return "Bearer " + options.token;
}

bool stays_on_machine(const std::string& target) {
  static const std::regex kLocal(
      "unix(-abstract)?:.*|((dns|ipv4|ipv6):)?(.*/)?(localhost|127(\\.[0-9]{1,3}){3}|::1|\\[::1\\])(:[0-9]+)?");
  return std::regex_match(target, kLocal);
}

std::chrono::nanoseconds default_timeout(std::string_view method) {
  for (const auto& [name, seconds] : kDefaultTimeouts) {
    if (name == method) {
      return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
    }
  }
  throw std::logic_error("no default deadline in service_config.json");
}

}  // namespace turnout

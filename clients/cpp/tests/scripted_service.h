// A service on a real loopback port that answers as a request's policy says, and counts what it sees.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

namespace turnout {

// Longer than any step of a passing test takes: what ends a test that would hang.
inline constexpr std::chrono::seconds kPatience(30);

// Waits for what comes about in other threads; false if it does not.
template <class Condition>
bool eventually(Condition holds) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!holds() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  return holds();
}

class ScriptedService {
 public:
  explicit ScriptedService(const std::shared_ptr<grpc::ServerCredentials>& credentials = grpc::InsecureServerCredentials());
  ~ScriptedService();

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
  void stop();

  // Of the calls so far: the addresses that they came from, and a header of the last.
  size_t peers() const;
  std::string header(const std::string& name) const;
  // Attempts so far.
  int calls() const { return calls_; }
  int calls_in_flight() const { return calls_in_flight_; }

 private:
  class Routing;
  class Completion;
  class Watch;

  mutable std::mutex mutex_;
  std::set<std::string> peers_;
  std::map<std::string, std::string> headers_;
  std::atomic<int> calls_{0};
  std::atomic<int> calls_in_flight_{0};
  std::unique_ptr<Routing> routing_;
  std::unique_ptr<Completion> completion_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace turnout

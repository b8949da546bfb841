// Nothing is left of many calls, of which two in three are left before their end. TURNOUT_LEAK_CALLS says how many.
#include <gtest/gtest.h>
#include <turnout/client.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "scripted_service.h"

namespace turnout {
namespace {

namespace fs = std::filesystem;

int threads() {
  return static_cast<int>(std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator()));
}

int sockets() {
  int count = 0;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code closed_since;
    count += fs::read_symlink(entry.path(), closed_since).string().rfind("socket:", 0) == 0;
  }
  return count;
}

void make_calls(int count) {
  ScriptedService service;
  ClientOptions options;
  options.connections = 2;
  options.timeout = kPatience;
  Client client(service.target(), options);
  v1::RouteRequest slow;
  slow.set_prompt("p");
  slow.set_policy("slow");
  for (int i = 0; i < count; ++i) {
    if (i % 3 == 0) {
      client.route("p");
    } else if (i % 3 == 1) {
      Cancellation cancellation;
      std::thread canceller([&] { cancellation.cancel(); });
      EXPECT_THROW(client.route(slow, &cancellation), CallCancelledError);
      canceller.join();
    } else {
      CompletionStream stream = client.complete_stream(v1::CompleteStreamRequest());
      EXPECT_TRUE(stream.next().has_value());
    }
  }
  EXPECT_TRUE(eventually([&] { return service.calls_in_flight() == 0; }));
  EXPECT_LE(service.peers(), 2U);
}

TEST(Lifetime, NothingIsLeft) {
  const char* given = std::getenv("TURNOUT_LEAK_CALLS");
  const int calls = given != nullptr ? std::atoi(given) : 1000;
  // gRPC keeps threads of its own for as long as the process lives.
  make_calls(30);
  const int threads_before = threads(), sockets_before = sockets();
  make_calls(calls);
  EXPECT_TRUE(eventually([&] { return sockets() <= sockets_before; })) << sockets() << " of " << sockets_before;
  EXPECT_TRUE(eventually([&] { return threads() <= threads_before; })) << threads() << " of " << threads_before;
}

}  // namespace
}  // namespace turnout

// The client against a service on a loopback port.
#include <gtest/gtest.h>
#include <turnout/client.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "scripted_service.h"
#include "service_config.h"

namespace turnout {
namespace {

v1::RouteRequest request(const std::string& prompt, const std::string& policy = "") {
  v1::RouteRequest request;
  request.set_prompt(prompt);
  request.set_policy(policy);
  return request;
}

ClientOptions patient() {
  ClientOptions options;
  options.timeout = kPatience;
  options.route_or_timeout = kPatience;
  return options;
}

std::string read(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class ClientTest : public testing::Test {
 protected:
  ScriptedService service_;
  Client client_{service_.target(), patient()};
};

TEST_F(ClientTest, Decides) {
  ClientOptions options = patient();
  options.user_agent = "shop/2.1";
  options.token = "secret";
  Client client(service_.target(), options);
  EXPECT_EQ(client.route("hi").tier(), "mid");
  EXPECT_EQ(service_.header("authorization"), "Bearer secret");
  EXPECT_EQ(service_.header("user-agent").find(std::string("turnout-cpp/") + kVersion + " shop/2.1 grpc-c++"), 0U);
}

TEST(Package, ShowsTheExampleThatRuns) {
  EXPECT_NE(read(TURNOUT_CLIENT "/README.md").find(read(TURNOUT_CLIENT "/example/example.cpp")), std::string::npos);
}

TEST(Package, HasTheVersionOfTheServer) {
  EXPECT_NE(read(TURNOUT_CLIENT "/../../pyproject.toml").find("\nversion = \"" + std::string(kVersion) + "\"\n"), std::string::npos);
}

TEST(Tls, IsSpokenAndChecked) {
  const std::string folder = testing::TempDir();
  const std::string key = folder + "/key.pem", certificate = folder + "/certificate.pem";
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=router.test "
      "-addext subjectAltName=DNS:router.test -keyout " + key + " -out " + certificate + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  grpc::SslServerCredentialsOptions secure(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  secure.pem_root_certs = read(certificate);
  secure.pem_key_cert_pairs = {{read(key), read(certificate)}};
  ScriptedService service(grpc::SslServerCredentials(secure));
  ClientOptions options = patient();
  options.tls = TlsConfig{read(certificate), read(key), read(certificate), "router.test"};
  EXPECT_EQ(Client(service.target(), options).route("hi").tier(), "mid");
  options.tls->server_name = "other.test";
  EXPECT_THROW(Client(service.target(), options).route("hi"), UnavailableError);
}

TEST_F(ClientTest, UsesItsConnectionsInTurn) {
  ClientOptions options = patient();
  options.connections = 3;
  Client pool(service_.target(), options);
  for (int i = 0; i < 6; ++i) pool.route("hi");
  EXPECT_EQ(service_.peers(), 3U);
}

TEST_F(ClientTest, TakesWhatANewerServiceSays) {
  const auto decision = client_.route(request("hi", "newer"));
  EXPECT_EQ(decision.tier(), "mid");
  EXPECT_EQ(static_cast<int>(decision.status()), 99);
  EXPECT_EQ(static_cast<int>(decision.task()), 99);
}

TEST_F(ClientTest, FailsOpenAndCounts) {
  std::vector<std::string> told;
  ClientOptions options = patient();
  options.on_fail_open = [&](const Error& error) {
    told.push_back(error.label());
    throw std::runtime_error("a broken listener");
  };
  Client client(service_.target(), options);
  EXPECT_FALSE(client.route_or("frontier", request("hi")).fell_back());
  const Outcome one = client.route_or("frontier", request("hi", "internal"));
  EXPECT_TRUE(one.fell_back());
  EXPECT_EQ(one.decision().tier(), "frontier");
  EXPECT_EQ(one.decision().status(), v1::DECISION_STATUS_DEFAULTED);
  EXPECT_EQ(dynamic_cast<const InternalError&>(*one.error()).incident(), "a1");
  client.route_or("frontier", request("hi", "slow"), std::chrono::milliseconds(20));
  EXPECT_THROW(client.route_or("frontier", request("hi", "invalid")), InvalidRequestError);
  EXPECT_EQ(client.fail_open_counts(), (std::map<std::string, int64_t>{{"INTERNAL", 1}, {"DEADLINE_EXCEEDED", 1}}));
  EXPECT_EQ(told, (std::vector<std::string>{"INTERNAL", "DEADLINE_EXCEEDED"}));
}

TEST_F(ClientTest, FailsOpenWhereNobodyListens) {
  service_.stop();
  EXPECT_TRUE(client_.route_or("frontier", request("hi")).fell_back());
  EXPECT_EQ(client_.fail_open_counts().at("UNAVAILABLE"), 1);
}

TEST_F(ClientTest, RetriesEndWhereTheServiceStaysAway) {
  for (int i = 0; i < 100; ++i) EXPECT_THROW(client_.route(request("hi", "down")), UnavailableError);
  // Half of 100 tokens are spent by the first 50 attempts, of which 37 or so are retries.
  EXPECT_NEAR(service_.calls(), 137, 5);
}

TEST_F(ClientTest, ABatchKeepsItsOrder) {
  const auto outcomes = client_.route_batch({request("a"), request("b")});
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(outcomes[0].decision().policy() + outcomes[1].decision().policy(), "ab");
  EXPECT_TRUE(client_.route_batch({}).empty());
  EXPECT_THROW(client_.route_batch({request("a", "too-few"), request("b")}), InternalError);
}

TEST_F(ClientTest, AStreamAnswersAsRequestsCome) {
  RouteStream stream = client_.route_stream();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(stream.send(request(std::to_string(i))));
    EXPECT_EQ(stream.next()->decision().policy(), std::to_string(i));
  }
  stream.finish();
  EXPECT_FALSE(stream.next().has_value());
  EXPECT_FALSE(stream.next().has_value());
}

TEST_F(ClientTest, AStreamThatTheServiceEndsTakesNoMore) {
  RouteStream stream = client_.route_stream();
  stream.send(request("p", "end"));
  EXPECT_THROW(stream.next(), UnavailableError);
  EXPECT_THROW(stream.next(), UnavailableError);
  EXPECT_FALSE(stream.send(request("p")));
}

TEST_F(ClientTest, CancellingAStreamFreesItsSender) {
  RouteStream stream = client_.route_stream();
  std::thread sender([&] {
    // Nobody reads, so there is room for some only.
    while (stream.send(request(std::string(100'000, 'x')))) {
    }
  });
  stream.next();
  stream.cancel();
  sender.join();
  EXPECT_THROW(while (stream.next().has_value()){}, CallCancelledError);
}

TEST_F(ClientTest, LeavingAStreamEndsItAtBothEnds) {
  {
    CompletionStream stream = client_.complete_stream(v1::CompleteStreamRequest());
    int count = 0;
    for (const auto& event : stream) {
      EXPECT_TRUE(event.has_text());
      if (++count == 3) break;
    }
    EXPECT_EQ(service_.calls_in_flight(), 1);
  }
  EXPECT_TRUE(eventually([&] { return service_.calls_in_flight() == 0; }));
}

TEST_F(ClientTest, ACancellationEndsTheCallsItWasGivenTo) {
  Cancellation cancellation;
  std::thread caller([&] {
    CallOptions options(&cancellation);
    EXPECT_THROW(client_.route(request("hi", "slow"), options), CallCancelledError);
  });
  EXPECT_TRUE(eventually([&] { return service_.calls_in_flight() == 1; }));
  cancellation.cancel();
  caller.join();
  EXPECT_TRUE(eventually([&] { return service_.calls_in_flight() == 0; }));
  EXPECT_THROW(client_.route("hi", &cancellation), CallCancelledError);
  EXPECT_TRUE(cancellation.cancelled());
}

TEST_F(ClientTest, ClosingEndsCallsInFlight) {
  CompletionStream stream = client_.complete_stream(v1::CompleteStreamRequest());
  stream.next();
  std::thread caller([&] { EXPECT_THROW(client_.route(request("hi", "slow")), CallCancelledError); });
  EXPECT_TRUE(eventually([&] { return service_.calls_in_flight() == 2; }));
  client_.close();
  client_.close();
  caller.join();
  EXPECT_THROW(while (stream.next().has_value()){}, CallCancelledError);
  EXPECT_THROW(client_.route("hi"), ClientClosedError);
  EXPECT_THROW(client_.route_or("mid", request("hi")), ClientClosedError);
}

TEST_F(ClientTest, AStreamOutlivesItsClient) {
  auto client = std::make_unique<Client>(service_.target(), patient());
  RouteStream stream = client->route_stream();
  client = nullptr;
  EXPECT_THROW(stream.next(), CallCancelledError);
}

TEST_F(ClientTest, RefusesWhatBreaksALimit) {
  EXPECT_THROW(client_.route("hi", std::chrono::seconds(0)), std::invalid_argument);
  try {
    client_.route(std::string((16 << 20) + 1, 'x'));
    FAIL();
  } catch (const InvalidRequestError& error) {
    EXPECT_EQ(error.limit(), "16777216 bytes");
  }
}

TEST_F(ClientTest, SaysWhereThereIsNoHealthCheck) {
  try {
    client_.check_health();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), grpc::UNIMPLEMENTED);
  }
}

}  // namespace
}  // namespace turnout

// A C++ gRPC server by the callback API that neither parses nor decides: every call gets one fixed message.
//
// `grpc_echo RESPONSE_FILE` prints its port as JSON. The method is raw: messages stay grpc::ByteBuffer.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include <grpcpp/grpcpp.h>

#include "echo.grpc.pb.h"

using turnout::v1::RoutingService;

class Echo final : public RoutingService::WithRawCallbackMethod_Route<RoutingService::Service> {
 public:
  explicit Echo(const std::string& answer) : slice_(answer), answer_(&slice_, 1) {}

  grpc::ServerUnaryReactor* Route(grpc::CallbackServerContext* context, const grpc::ByteBuffer*,
                                  grpc::ByteBuffer* response) override {
    *response = answer_;
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  grpc::Slice slice_;
  grpc::ByteBuffer answer_;
};

int main(int n, char** words) {
  std::ifstream file(n == 2 ? words[1] : "", std::ios::binary);
  if (!file) {
    std::cerr << "grpc_echo: needs a file with the answer\n";
    return 2;
  }
  Echo echo(std::string(std::istreambuf_iterator<char>(file), {}));
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&echo);
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::cout << "{\"port\": " << port << "}" << std::endl;
  server->Wait();
}

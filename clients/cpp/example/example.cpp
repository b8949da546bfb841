// Two prompts, what is decided for each, and why. TURNOUT_ADDRESS names the service, such as localhost:50051.
#include <turnout/client.h>

#include <cstdlib>
#include <iostream>

int main() {
  const char* address = std::getenv("TURNOUT_ADDRESS");
  turnout::Client client(address ? address : "localhost:50051");
  for (const char* prompt : {"What are your business hours?", "Review this contract clause for compliance issues"}) {
    turnout::v1::RouteRequest request;
    request.set_prompt(prompt);
    request.mutable_caller()->set_tenant("acme");
    const auto decision = client.route(request);
    std::cout << prompt << "\n  tier       " << decision.tier() << " served by " << decision.deployment() << "\n";
    std::cout << "  task       " << turnout::v1::Task_Name(decision.task()) << " " << decision.task_probability() << "\n";
    for (const auto& one : decision.candidates())
      std::cout << "  candidate  " << one.tier() << " " << one.p_sufficient() << " " << one.estimated_cost_usd() << "\n";
    for (const auto& reason : decision.reasons()) std::cout << "  because    " << reason.id() << "\n";
  }
}

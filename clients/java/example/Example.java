import dev.turnout.TurnoutClient;
import dev.turnout.v1.Reason;
import dev.turnout.v1.RouteRequest;
import java.time.Duration;
import java.util.List;

/** Two prompts, what is decided for each, and why. TURNOUT_ADDRESS names the service, such as localhost:50051. */
public class Example {
  public static void main(String[] arguments) {
    String address = System.getenv().getOrDefault("TURNOUT_ADDRESS", "localhost:50051");
    // The first call of a JVM takes its time.
    try (TurnoutClient client = TurnoutClient.builder(address).timeout(Duration.ofSeconds(10)).build()) {
      for (String prompt : List.of("What are your business hours?", "Review this contract clause for compliance issues")) {
        RouteRequest.Builder request = RouteRequest.newBuilder().setPrompt(prompt);
        request.getCallerBuilder().setTenant("acme");
        var decision = client.route(request.build());
        System.out.println(prompt);
        System.out.println("  tier       " + decision.getTier() + " served by " + decision.getDeployment());
        System.out.printf("  task       %s %.2f%n", decision.getTask(), decision.getTaskProbability());
        for (var one : decision.getCandidatesList()) {
          System.out.println("  candidate  " + one.getTier() + " " + one.getPSufficient() + " " + one.getEstimatedCostUsd());
        }
        System.out.println("  because    " + decision.getReasonsList().stream().map(Reason::getId).toList());
      }
    }
  }
}

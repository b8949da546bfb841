//! Asks which tier should answer two prompts, and why.

use turnout::Client;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(&std::env::var("TURNOUT_ADDRESS").unwrap_or("localhost:50051".into()))?;
    for prompt in ["What are your business hours?", "Prove that there are infinitely many primes."] {
        let decision = client.route(prompt).await?;
        println!("tier:       {}", decision.tier);
        println!("deployment: {}", decision.deployment);
        println!("candidates: {:?}", decision.candidates);
        println!("reasons:    {:?}", decision.reasons);
    }
    client.close();
    Ok(())
}

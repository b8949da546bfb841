//! Has a request answered, as the answer comes.

use std::time::Duration;

use turnout::v1::complete_stream_response::Event;
use turnout::v1::{CallerContext, CompleteRequest};
use turnout::{Client, Error};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(&std::env::var("TURNOUT_ADDRESS").unwrap_or("localhost:50051".into()))?;
    let request = CompleteRequest {
        prompt: Some("Plan a week in Rome.".into()),
        caller: Some(CallerContext { tenant: "acme".into(), ..CallerContext::default() }),
        ..CompleteRequest::default()
    };
    let mut events = client.with_timeout(Duration::from_secs(60)).complete_stream(request);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => match event.event {
                Some(Event::Text(delta)) => print!("{}", delta.text),
                Some(Event::Finished(answer)) => println!("\n{}: {:?}", answer.tier, answer.cost),
                _ => (),
            },
            Err(Error::Unavailable { causes, .. }) => println!("no whole answer: {causes:?}"),
            Err(error) => return Err(error.into()),
        }
    }
    client.close();
    Ok(())
}

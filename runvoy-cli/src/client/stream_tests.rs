use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::super::transport::{BoxError, Transport, TransportError};
use super::*;
use crate::settings::Endpoint;

/// One connection: what it says, and whether it breaks after.
enum Script {
    Says(&'static str, Closed),
    Status(u16),
    Refuses,
}

struct Scripted {
    script: Mutex<VecDeque<Script>>,
    asked: std::sync::Arc<Mutex<Vec<String>>>,
}

impl Transport for Scripted {
    fn send(&self, request: Request<Body>) -> BoxFuture<'_, Result<Response<Body>, TransportError>> {
        self.asked.lock().unwrap().push(request.uri().query().unwrap_or_default().to_owned());
        let next = self.script.lock().unwrap().pop_front().unwrap_or(Script::Refuses);
        Box::pin(async move {
            let (status, text, closed) = match next {
                Script::Refuses => {
                    return Err(TransportError { sent: false, source: "connection refused".into() });
                }
                Script::Status(status) => (status, r#"{"error":"no"}"#, Closed::Cleanly),
                Script::Says(text, closed) => (200, text, closed),
            };
            let mut frames: Vec<Result<Frame<Bytes>, BoxError>> =
                text.as_bytes().chunks(7).map(|chunk| Ok(Frame::data(Bytes::from_static(chunk)))).collect();
            if matches!(closed, Closed::Broken) {
                frames.push(Err("reset".into()));
            }
            let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
            let response = Response::builder().status(status).header(CONTENT_TYPE, "text/event-stream");
            Ok(response.body(body).unwrap())
        })
    }
}

const FIRST: &str = "event: status\ndata: {\"status\":\"RUNNING\"}\n\n\
    event: block\nid: 2\ndata: {\"first\":0,\"timestamp\":1,\"stream\":\"stdout\",\"text\":\"a\\nb\\n\"}\n\n\
    event: block\nid: 3\ndata: {\"first\":2,\"timestamp\":1,\"stream\":\"stdout\",\"te";
const SECOND: &str = "event: novelty\ndata: x\n\n\
    event: block\nid: 3\ndata: {\"first\":2,\"timestamp\":1,\"stream\":\"stderr\",\"raw\":\"/wo=\"}\n\n\
    event: end\ndata: {\"status\":\"SUCCEEDED\",\"status_reason\":\"exited\",\"exit_code\":0,\"complete\":true}\n\n";

async fn follow(script: Vec<Script>, first_try: FirstTry) -> (Vec<String>, Vec<String>) {
    let asked = std::sync::Arc::default();
    let transport = Scripted { script: Mutex::new(script.into()), asked: std::sync::Arc::clone(&asked) };
    let (transport, endpoint) = (Box::new(transport), Endpoint::in_process());
    let client = Client { transport, endpoint, key: None, key_hint: "", is_in_process: true };
    let options = FollowOptions { format: Format::Blocks, tail: Some(5), first_try };
    let mut follow = Follow::new(&client, ExecutionId::from_u128(1), options);
    let mut seen = Vec::new();
    loop {
        match follow.next().await {
            Ok(Item::Block(block)) => seen.push(format!("{:?} {:?}", block.stream, block.bytes)),
            Ok(Item::Status(status)) => seen.push(status.status.to_string()),
            Ok(Item::Lost) => seen.push("lost".into()),
            Ok(Item::End(end)) => {
                seen.push(format!("end {:?}", end.exit_code));
                break;
            }
            Ok(other) => seen.push(format!("{other:?}")),
            Err(e) => {
                seen.push(format!("error {}", e.kind.code()));
                break;
            }
        }
    }
    let asked = asked.lock().unwrap().clone();
    (seen, asked)
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_taken_up_after_the_last_whole_block() {
    let script = vec![
        Script::Says(FIRST, Closed::Broken),
        Script::Refuses,
        Script::Status(503),
        Script::Says("", Closed::Cleanly),
        Script::Says(SECOND, Closed::Cleanly),
    ];
    let (seen, asked) = follow(script, FirstTry::Fails).await;
    let want =
        ["RUNNING", "Stdout [97, 10, 98, 10]", "lost", "Stderr [255, 10]", "end Some(0)"].map(str::to_owned);
    assert_eq!(seen, want);
    assert_eq!(asked[0], "format=blocks&tail=5");
    assert!(asked.len() == 5 && asked[1..].iter().all(|query| query == "format=blocks&after=2"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clean_close_says_nothing() {
    let script = vec![
        Script::Says("event: gap\ndata: {\"from\":1,\"to\":4}\n\n", Closed::Cleanly),
        Script::Says(SECOND, Closed::Cleanly),
    ];
    let (seen, _) = follow(script, FirstTry::Fails).await;
    assert_eq!(seen, ["Gap(GapData { from: 1, to: 4 })", "Stderr [255, 10]", "end Some(0)"]);
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    assert_eq!(follow(vec![], FirstTry::Fails).await.0, ["error 69"]);
    let (seen, asked) = follow(vec![], FirstTry::Repeats).await;
    assert_eq!(seen, ["lost", "error 69"]);
    assert!((50..100).contains(&asked.len()), "{}", asked.len());
    let (seen, asked) =
        follow((0..1000).map(|_| Script::Says("", Closed::Cleanly)).collect(), FirstTry::Fails).await;
    assert_eq!(seen, ["error 69"]);
    assert!((50..100).contains(&asked.len()), "{}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_told_at_once() {
    for (status, code) in [(401, 77), (404, 66)] {
        let script = vec![Script::Says(FIRST, Closed::Broken), Script::Status(status)];
        let (seen, _) = follow(script, FirstTry::Repeats).await;
        assert_eq!(seen.last().unwrap(), &format!("error {code}"));
    }
    for wrong in ["event: block\ndata: {\n\n", "event: end\nid: a b\ndata: {}\n\n"] {
        let (seen, _) = follow(vec![Script::Says(wrong, Closed::Cleanly)], FirstTry::Repeats).await;
        assert_eq!(seen, ["error 69"], "{wrong}");
    }
}

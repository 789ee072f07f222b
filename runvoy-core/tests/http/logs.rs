//! Reading a log: by page, by long-poll, by stream, and again after a cut.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use runvoy_core::http::PeerAddress;
use runvoy_core::id::Role;
use runvoy_core::log::Stream;
use serde_json::Value;

use super::server::{Server, key};

/// An execution that has written `lines` lines and goes on.
async fn running(server: &Server, lines: usize) -> String {
    let id = server.start_manually("count").await;
    let writer = server.logs.writer(id.parse().unwrap());
    for n in 0..lines {
        writer.append(Stream::Stdout, format!("line {n}\n"));
    }
    id
}

async fn finish(server: &Server, id: &str) {
    server.manual.exit(id.parse().unwrap(), 0);
    server.settle().await;
}

fn messages(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn page_after_page_gives_every_line_once() {
    let server = Server::manual().await;
    let id = running(&server, 25).await;
    let mut seen = Vec::new();
    let mut query = "limit=10".to_owned();
    for expected in [10, 10, 5, 0] {
        let page = server.get(&format!("/executions/{id}/logs?{query}")).await.json();
        assert_eq!(page["events"].as_array().unwrap().len(), expected);
        assert_eq!(page["complete"], false);
        seen.extend(messages(&page));
        query = format!("limit=10&after={}", page["next"].as_str().unwrap());
    }
    assert_eq!(seen, (0..25).map(|n| format!("line {n}")).collect::<Vec<_>>());
    finish(&server, &id).await;
    let page = server.get(&format!("/executions/{id}/logs?{query}")).await.json();
    assert_eq!((&page["complete"], &page["end"]["status"]), (&true.into(), &"SUCCEEDED".into()));
    let tail = server.get(&format!("/executions/{id}/logs?tail=2")).await.json();
    assert_eq!(messages(&tail), ["line 23", "line 24"]);
}

#[tokio::test]
async fn a_long_poll_answers_when_there_is_something() {
    let server = Server::manual().await;
    let id = running(&server, 0).await;
    let path = format!("/executions/{id}/logs?wait=20&limit=10");
    let poll = server.get(&path);
    let write = async {
        server.logs.writer(id.parse().unwrap()).append(Stream::Stderr, "late\n");
    };
    let (page, ()) = tokio::join!(poll, write);
    assert_eq!(messages(&page.json()), ["late"]);
    assert_eq!(page.json()["events"][0]["stream"], "stderr");
}

#[tokio::test]
async fn a_wait_answers_when_the_execution_has_ended() {
    let server = Server::manual().await;
    let id = running(&server, 0).await;
    let path = format!("/executions/{id}?wait=20");
    let (record, ()) = tokio::join!(server.get(&path), finish(&server, &id));
    assert_eq!(record.json()["status"], "SUCCEEDED");
    let now = running(&server, 0).await;
    let record = server.get(&format!("/executions/{now}?wait=0")).await;
    assert_eq!(record.json()["status"], "RUNNING");
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_cut() {
    let server = Server::manual().await;
    let id = running(&server, 5).await;
    finish(&server, &id).await;
    let whole = server.get(&format!("/executions/{id}/logs/stream")).await.text;
    let ids: Vec<_> = whole.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids.len(), 5);
    for (at, id_of_line) in ids.iter().enumerate() {
        let request = Request::get(format!("/api/v1/executions/{id}/logs/stream?after=0"))
            .header("X-API-Key", key(Role::Admin))
            .header("Last-Event-ID", *id_of_line)
            .body(Body::empty())
            .unwrap();
        let rest = server.send(request).await;
        assert_eq!(rest.status, StatusCode::OK);
        assert_eq!(rest.headers["content-type"], "text/event-stream");
        let lines = rest.text.lines().filter(|line| *line == "event: log").count();
        assert_eq!(lines, 4 - at, "{}", rest.text);
        assert!(rest.text.ends_with("\n\n") && rest.text.contains("event: end"));
    }
}

#[tokio::test]
async fn both_formats_give_the_bytes_exactly() {
    let server = Server::manual().await;
    let id = server.start_manually("bytes").await;
    let writer = server.logs.writer(id.parse().unwrap());
    writer.append(Stream::Stdout, "ü\nprompt> ");
    writer.append(Stream::Stdout, &b"\xff\xfe\n"[..]);
    writer.close(Stream::Stdout, "no newline");
    finish(&server, &id).await;
    let expected = b"\xc3\xbc\nprompt> \xff\xfe\nno newline".to_vec();
    let events = |text: &str, name: &str| -> Vec<String> {
        let wanted = format!("event: {name}");
        let parts = text.split("\n\n").filter(|part| part.lines().next() == Some(wanted.as_str()));
        parts
            .map(|part| part.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned())
            .collect()
    };
    let lines = server.get(&format!("/executions/{id}/logs/stream")).await.text;
    let from_lines: Vec<u8> = events(&lines, "log")
        .iter()
        .flat_map(|json| serde_json::from_str::<runvoy_core::log::LogEvent>(json).unwrap().bytes())
        .collect();
    assert_eq!(from_lines, expected);
    let blocks = server.get(&format!("/executions/{id}/logs/stream?format=blocks")).await.text;
    let mut from_blocks = Vec::new();
    for json in events(&blocks, "block") {
        let block: runvoy_core::api::BlockData<'_> = serde_json::from_str(&json).unwrap();
        match (&block.text, &block.raw) {
            (Some(text), None) => from_blocks.extend(text.bytes()),
            (None, Some(raw)) => {
                use base64::Engine as _;
                from_blocks.extend(base64::engine::general_purpose::STANDARD.decode(raw.as_bytes()).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(from_blocks, expected);
}

#[tokio::test]
async fn what_is_missing_is_told() {
    let server = Server::manual().await;
    let id = server.start_manually("gap").await;
    let writer = server.logs.writer(id.parse().unwrap());
    writer.append(Stream::Stdout, "before\n");
    writer.lose(3);
    writer.append(Stream::Stdout, "after\n");
    finish(&server, &id).await;
    let text = server.get(&format!("/executions/{id}/logs/stream")).await.text;
    assert!(text.contains("event: gap") && text.contains(r#"{"from":1,"to":4}"#), "{text}");
    assert!(text.contains(r#""complete":false"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_agent_died_ends_after_a_while_and_says_incomplete() {
    let server = Server::manual().await;
    let id = server.start_manually("doomed").await;
    server.logs.writer(id.parse().unwrap()).append(Stream::Stdout, "last words\n");
    server.manual.vanish(id.parse().unwrap());
    server.settle().await;
    let text = server.get(&format!("/executions/{id}/logs/stream")).await.text;
    assert!(text.contains("last words") && text.contains(r#""complete":false"#), "{text}");
    assert!(text.contains(r#""status_reason":"lost""#), "{text}");
}

#[tokio::test]
async fn what_clients_of_old_get_is_null_while_it_runs_and_everything_after() {
    let server = Server::manual().await;
    let id = running(&server, 1500).await;
    let live = server.get(&format!("/executions/{id}/logs")).await.json();
    assert_eq!((&live["events"], &live["status"]), (&Value::Null, &"RUNNING".into()));
    finish(&server, &id).await;
    let ended = server.get(&format!("/executions/{id}/logs")).await.json();
    assert_eq!(messages(&ended).len(), 1500);
    let mut ids: Vec<_> =
        ended["events"].as_array().unwrap().iter().map(|e| e["event_id"].clone().to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1500);
}

async fn reveals(server: &Server) -> usize {
    let records = server.ports.audit.read(0, 100).await.unwrap();
    records.iter().filter(|record| record.event().unwrap().action == "read_logs").count()
}

#[tokio::test]
async fn a_reading_is_recorded_when_it_begins_and_not_with_every_page() {
    let server = Server::manual().await;
    let id = running(&server, 3).await;
    let page = server.get(&format!("/executions/{id}/logs?limit=1")).await.json();
    assert_eq!(reveals(&server).await, 1);
    let next = page["next"].as_str().unwrap();
    for _ in 0..3 {
        server.get(&format!("/executions/{id}/logs?limit=1&after={next}")).await;
    }
    assert_eq!(reveals(&server).await, 1, "it goes on");
    server.clock.advance(Duration::from_mins(10));
    server.get(&format!("/executions/{id}/logs?limit=1&after={next}")).await;
    assert_eq!(reveals(&server).await, 2, "much later");
}

#[tokio::test]
async fn every_reading_from_the_beginning_is_recorded() {
    let server = Server::manual().await;
    let id = running(&server, 3).await;
    finish(&server, &id).await;
    for (n, query) in ["/stream", "/stream", "/stream?tail=1", "", "?limit=1", "?limit=1"].iter().enumerate()
    {
        server.get(&format!("/executions/{id}/logs{query}")).await;
        assert_eq!(reveals(&server).await, n + 1, "{query}");
    }
    let page = server.get(&format!("/executions/{id}/logs?limit=1")).await.json();
    let next = page["next"].as_str().unwrap();
    server.get(&format!("/executions/{id}/logs/stream?after={next}")).await;
    assert_eq!(reveals(&server).await, 7, "a stream that goes on");
}

#[tokio::test]
async fn who_goes_on_from_elsewhere_is_recorded() {
    let server = Server::manual().await;
    let id = running(&server, 3).await;
    let page = server.get(&format!("/executions/{id}/logs?limit=1")).await.json();
    let path = format!("/api/v1/executions/{id}/logs?limit=1&after={}", page["next"].as_str().unwrap());
    for (from, expected) in [("192.0.2.7", 2), ("192.0.2.7", 2), ("192.0.2.8", 3)] {
        let mut request = Request::builder().uri(&path).header("X-API-Key", key(Role::Admin));
        request.extensions_mut().unwrap().insert(PeerAddress(from.parse().unwrap()));
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, reveals(&server).await), (StatusCode::OK, expected), "{from}");
    }
}

#[tokio::test]
async fn a_drained_server_closes_streams_without_an_end() {
    let server = Server::manual().await;
    let id = running(&server, 2).await;
    server.runvoy.drain();
    let text = server.get(&format!("/executions/{id}/logs/stream")).await.text;
    assert!(text.contains("line 1") && !text.contains("event: end"), "{text}");
}

//! The WebSocket, over a wire in memory and by a clock that does not make anybody wait.

use std::time::Duration;

use axum::body::Body;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use runvoy_core::clock::Clock as _;
use runvoy_core::id::{RequestId, Role};
use runvoy_core::key::ApiKey;
use runvoy_core::log::Stream;
use runvoy_core::port::User;
use runvoy_core::{Config, limits};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::ServiceExt as _;

use super::server::{Server, key};

type Socket = WebSocketStream<DuplexStream>;

/// Opens a socket over a wire that holds so many bytes.
async fn open_over(server: &Server, url: &str, bytes: usize) -> Result<Socket, Error> {
    let (near, far) = tokio::io::duplex(bytes);
    let router = server.router.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades(),
    );
    client_async(url, near).await.map(|(socket, _)| socket)
}

async fn open(server: &Server, url: &str) -> Socket {
    open_over(server, url, 65_536).await.unwrap()
}

async fn url(server: &Server, id: &str) -> String {
    let logs = server.get(&format!("/executions/{id}/logs")).await.json();
    logs["websocket_url"].as_str().unwrap().to_owned()
}

/// A live execution that wrote a line, and where it is followed.
async fn live(server: &Server) -> (String, String) {
    let id = server.start_manually("live").await;
    server.logs.writer(id.parse().unwrap()).append(Stream::Stdout, "line\n");
    let url = url(server, &id).await;
    (id, url)
}

async fn frame(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => return frame.code.into(),
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn refused(server: &Server, url: &str) -> u16 {
    match open_over(server, url, 65_536).await {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{:?}", other.map(|_| "a socket")),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_answers_pings_stays_and_one_that_answers_nothing_is_let_go() {
    let server = Server::manual().await;
    let (_, url) = live(&server).await;
    let (mut attentive, silent) = (open(&server, &url).await, open(&server, &url).await);
    assert_eq!(frame(&mut attentive).await["message"], "line");
    let began = Instant::now();
    let mut pings = 0;
    while began.elapsed() < Duration::from_mins(10) {
        match attentive.next().await.unwrap().unwrap() {
            Message::Ping(_) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((19..=21).contains(&pings), "one every half minute: {pings}");
    // The other has read nothing, and so answered nothing.
    let mut bytes = Vec::new();
    silent.into_inner().read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.windows(2).filter(|two| two == b"\x89\x00").count() <= 2, "{} bytes", bytes.len());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_let_go_and_costs_little_until_then() {
    let server = Server::manual().await;
    let (id, url) = live(&server).await;
    let writer = server.logs.writer(id.parse().unwrap());
    for _ in 0..10_000 {
        writer.append(Stream::Stdout, "much of what is said is never heard by those who should\n");
    }
    let socket = open_over(&server, &url, 512).await.unwrap();
    sleep(Duration::from_mins(3)).await;
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(1), socket.into_inner().read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.len() <= 512, "{}: only what the wire held", bytes.len());
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_in_a_frame_and_in_the_last_one() {
    let server = Server::manual().await;
    let (id, url) = live(&server).await;
    let writer = server.logs.writer(id.parse().unwrap());
    writer.lose(3);
    writer.append(Stream::Stdout, "after\n");
    server.manual.exit(id.parse().unwrap(), 0);
    server.settle().await;
    let mut socket = open(&server, &url).await;
    let said = [frame(&mut socket).await, frame(&mut socket).await, frame(&mut socket).await];
    let messages = said.each_ref().map(|frame| frame["message"].as_str().unwrap());
    assert_eq!(messages, ["line", "### runvoy: the lines 1 to 3 of this log are missing", "after"]);
    let last = frame(&mut socket).await;
    assert_eq!((&last["type"], &last["complete"]), (&"disconnect".into(), &false.into()), "{last}");
    let logs = server.get(&format!("/executions/{id}/logs")).await.json();
    let shown: Vec<_> = logs["events"].as_array().unwrap().iter().map(|event| &event["message"]).collect();
    assert_eq!(shown, messages);
    // Who goes on after what is told to be missing goes on after it.
    let resumed = format!("{url}&last_event_id={}", said[1]["event_id"].as_str().unwrap());
    assert_eq!(frame(&mut open(&server, &resumed).await).await["message"], "after");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_a_day() {
    let server = Server::manual().await;
    let (_, url) = live(&server).await;
    let last = Duration::from_millis(1);
    server.clock.advance(limits::STREAM_TOKEN.saturating_sub(last));
    frame(&mut open(&server, &url).await).await;
    server.clock.advance(last);
    assert_eq!(refused(&server, &url).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_nothing_that_its_key_does_not() {
    let server = Server::manual().await;
    let (id, _) = live(&server).await;
    // A developer's token of another's execution: they can have none, so it is made by their own run.
    let run = Request::post("/api/v1/run").header("X-API-Key", key(Role::Developer));
    let answer = server.send(run.body(Body::from(r#"{"command":"true"}"#)).unwrap()).await.json();
    let own = answer["websocket_url"].as_str().unwrap();
    open(&server, own).await;
    let other = own.replace(answer["execution_id"].as_str().unwrap(), &id);
    assert_eq!(refused(&server, &other).await, 403);
    let audit = server.get("/audit").await.text;
    assert!(audit.contains("stream token is another execution's") && !audit.contains("token="), "{audit}");
    let email = "developer@acme.test".parse().unwrap();
    server.ports.keys.revoke(&email, RequestId::from_u128(2)).await.unwrap();
    assert_eq!(refused(&server, own).await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_drains_closes_its_sockets() {
    let server = Server::manual().await;
    let (_, url) = live(&server).await;
    let mut polite = open(&server, &url).await;
    let rude = open(&server, &url).await;
    frame(&mut polite).await;
    server.runvoy.drain();
    assert_eq!(close_code(&mut polite).await, 1012);
    polite.flush().await.unwrap();
    let began = Instant::now();
    rude.into_inner().read_to_end(&mut Vec::new()).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(5), "nobody keeps a server from its end");
}

/// Lines that a wire does not hold, nor all that waits to be sent.
fn write_much(server: &Server, id: &str) {
    let writer = server.logs.writer(id.parse().unwrap());
    for _ in 0..MUCH {
        writer.append(Stream::Stdout, "much of what is said is never heard by those who should\n");
    }
}

const MUCH: usize = 20_000;

#[tokio::test(start_paused = true)]
async fn a_slow_reader_whose_key_is_revoked_is_told_no_more_in_time() {
    // Where it was revoked: here, and by another server, which tells nobody.
    for here in [true, false] {
        let server = Server::manual().await;
        let (id, _) = live(&server).await;
        write_much(&server, &id);
        let url = url_of_another(&server, &id, 0).await;
        let mut wire = open_over(&server, &url, 512).await.unwrap().into_inner();
        // Fast enough for every frame, and for no page.
        let pause = Duration::from_millis(250);
        let mut bytes = [0; 512];
        for _ in 0..10 {
            wire.read_exact(&mut bytes).await.unwrap();
            sleep(pause).await;
        }
        if here {
            let revoke = r#"{"email":"operator-0@acme.test"}"#;
            assert_eq!(server.ask(Method::POST, "/users/revoke", revoke).await.status, StatusCode::OK);
        } else {
            let email = "operator-0@acme.test".parse().unwrap();
            server.ports.keys.revoke(&email, RequestId::from_u128(2)).await.unwrap();
        }
        let began = Instant::now();
        while wire.read(&mut bytes).await.unwrap() > 0 {
            assert!(began.elapsed() < Duration::from_mins(5), "it goes on");
            sleep(pause).await;
        }
        let at_most = Duration::from_secs(10) + if here { Duration::ZERO } else { limits::KEY_RECHECK };
        assert!(began.elapsed() < at_most, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_drains_does_not_tell_a_whole_backlog_first() {
    let server = Server::manual().await;
    let (id, url) = live(&server).await;
    write_much(&server, &id);
    let mut socket = open(&server, &url).await;
    frame(&mut socket).await;
    server.runvoy.drain();
    let mut told = 1;
    let code = loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Close(Some(frame)) => break u16::from(frame.code),
            Message::Text(_) => told += 1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1012);
    assert!(told < MUCH, "all of it");
}

/// The address of an execution with the key of another operator, who joins for it.
async fn url_of_another(server: &Server, id: &str, number: usize) -> String {
    let key = format!("another-operator-{number}-000000000");
    let user = User::new(
        format!("operator-{number}@acme.test").parse().unwrap(),
        Role::Operator,
        server.clock.now(),
        RequestId::from_u128(1),
    );
    server.ports.keys.insert(user, ApiKey::parse(&key).unwrap().hash()).await.unwrap();
    let logs = server.ask_as(Some(&key), Method::GET, &format!("/executions/{id}/logs"), Body::empty()).await;
    logs.json()["websocket_url"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_sockets_and_no_more() {
    let server = Server::manual().await;
    let (id, _) = live(&server).await;
    let mut open_ones = Vec::new();
    for number in 0..limits::SOCKETS / limits::SOCKETS_PER_USER {
        let url = url_of_another(&server, &id, number).await;
        for _ in 0..limits::SOCKETS_PER_USER {
            open_ones.push(open_over(&server, &url, 1024).await.unwrap());
        }
    }
    let url = url(&server, &id).await;
    assert_eq!(refused(&server, &url).await, 503);
    drop(open_ones.pop());
    opens_soon(&server, &url).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_all_the_room_for_sockets() {
    let server = Server::manual().await;
    let (id, url) = live(&server).await;
    let mut open_ones = Vec::new();
    for _ in 0..limits::SOCKETS_PER_USER {
        open_ones.push(open_over(&server, &url, 1024).await.unwrap());
    }
    assert_eq!(refused(&server, &url).await, 429);
    let other = url_of_another(&server, &id, 0).await;
    open_ones.push(open_over(&server, &other, 1024).await.unwrap());
    drop(open_ones.remove(0));
    opens_soon(&server, &url).await;
}

/// Waits until there is room for another socket.
async fn opens_soon(server: &Server, url: &str) {
    let opened = async {
        while open_over(server, url, 1024).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_mins(1), opened).await.unwrap();
}

#[tokio::test]
async fn where_no_connection_can_become_a_socket_that_is_said() {
    let server = Server::manual().await;
    let (_, url) = live(&server).await;
    let path = url.split_once("localhost").unwrap().1;
    let request = Request::get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==")
        .body(Body::empty())
        .unwrap();
    let answer = server.send(request).await;
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (StatusCode::NOT_IMPLEMENTED, Some("NOT_IMPLEMENTED"))
    );
}

#[tokio::test]
async fn the_address_is_what_was_configured() {
    let server = Server::assemble(true, |ports| {
        let public_url = Some("https://runvoy.acme.test/tools".parse().unwrap());
        ports.config = Config { public_url, ..Config::default() };
    })
    .await;
    let (_, url) = live(&server).await;
    assert!(url.starts_with("wss://runvoy.acme.test/tools/api/v1/ws?execution_id="), "{url}");
}

#[tokio::test]
async fn times_of_a_whole_log_never_go_back() {
    let server = Server::manual().await;
    let id = server.start_manually("clock").await;
    let writer = server.logs.writer(id.parse().unwrap());
    writer.append(Stream::Stdout, "one\n");
    server.clock.set_back(Duration::from_secs(5));
    writer.append(Stream::Stdout, "two\n");
    server.clock.advance(Duration::from_secs(9));
    writer.append(Stream::Stdout, "three\n");
    server.manual.exit(id.parse().unwrap(), 0);
    server.settle().await;
    let logs = server.get(&format!("/executions/{id}/logs")).await.json();
    let times: Vec<_> =
        logs["events"].as_array().unwrap().iter().map(|it| it["timestamp"].as_i64()).collect();
    assert!(
        times.len() == 3 && times.is_sorted() && times[0] == times[1] && times[1] < times[2],
        "{times:?}"
    );
    let page = server.ask(Method::GET, &format!("/executions/{id}/logs?limit=3"), Body::empty()).await.json();
    let exact: Vec<_> =
        page["events"].as_array().unwrap().iter().map(|it| it["timestamp"].as_i64()).collect();
    assert!(!exact.is_sorted(), "our own clients are told what the clock said: {exact:?}");
}

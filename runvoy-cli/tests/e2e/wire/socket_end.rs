use std::io::{Read as _, Write as _};
use std::time::Duration;

use super::ask::Ask;
use super::socket::{Heard, Socket, said};
use super::{Rule, scene};
use crate::harness::{Server, signal, until};

pub(super) const RULES: &[Rule] = &[
    scene("6.end.order", |w| {
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        socket.until("begun");
        live.release();
        let (frames, disconnect) = socket.read_to_end();
        // What the app asks for in that moment is there.
        let (status, logs) = (w.status(&live.id), w.logs(&live.id));
        assert_eq!((&status["status"], &status["exit_code"]), (&"SUCCEEDED".into(), &0.into()), "{status}");
        assert_eq!(logs["events"].as_array().unwrap().last().unwrap()["message"], "over");
        assert_eq!(said(&frames).last(), Some(&"over"));
        assert_eq!((&disconnect["status"], &disconnect["complete"]), (&"SUCCEEDED".into(), &true.into()));
    }),
    scene("6.end.close", |w| {
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        live.release();
        socket.read_to_end();
        socket.send_close(1000, "Execution completed");
        assert_eq!(socket.ends_with().0, 1000, "it is echoed");
        assert!(matches!(socket.next(), Heard::Gone), "and the connection is over");
    }),
    scene("6.end.silent-client", |w| {
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        live.release();
        socket.read_to_end();
        // Whoever does not close is closed.
        assert_eq!(socket.ends_with().0, 1000);
    }),
    scene("6.end.client", |w| {
        let live = w.live("");
        for (code, reason) in [(1000, "User disconnected"), (1001, "")] {
            let mut socket = w.follow(&live.id);
            socket.until("begun");
            socket.send_close(code, reason);
            assert_eq!(socket.ends_with().0, code, "{reason}");
        }
        assert_eq!(w.status(&live.id)["status"], "RUNNING", "who reads has no part in it");
        live.release();
        assert_eq!(w.until_ended(&live.id)["status"], "SUCCEEDED");
    }),
    scene("6.end.killed-client", |w| {
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        socket.until("begun");
        let port = socket.stream().local_addr().unwrap().port();
        assert!(has_connection(&w.server, port));
        socket.kill();
        until("the server has noticed", || !has_connection(&w.server, port));
        live.release();
        assert_eq!(w.until_ended(&live.id)["status"], "SUCCEEDED");
    }),
    scene("6.end.slow-client", |w| {
        let live = w.live("yes 'a line of a command that says much' | head -n 200000;");
        let mut slow = w.follow(&live.id);
        live.release();
        // Nobody else waits for who takes nothing, and the run does not either.
        assert_eq!(w.until_ended(&live.id)["status"], "SUCCEEDED");
        let (frames, _) = slow.read_to_end();
        assert_eq!(frames.len(), 200_002, "and who comes back to reading has lost nothing");
    }),
    scene("6.end.noise", |w| {
        // A client that talks is not listened to, and one that talks without end is closed.
        let live = w.live("");
        let mut socket = w.follow(&live.id);
        socket.until("begun");
        // A text frame that announces a gibibyte, masked as a client has to.
        let mut announced = vec![0x81, 0xff];
        announced.extend_from_slice(&(1_u64 << 30).to_be_bytes());
        announced.extend_from_slice(&[0; 4]);
        let mut stream = socket.stream();
        stream.write_all(&announced).unwrap();
        // Closed, gracefully or not: what is no answer within the patience is neither.
        if let Err(error) = stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it goes on: {error}");
        }
        live.release();
        w.until_ended(&live.id);
    }),
    scene("6.end.server", |_| {
        let mut server = Server::start();
        let go = server.dir.path().join("go");
        let id = server.detach(&format!("echo begun; while [ ! -e {} ]; do sleep 0.01; done", go.display()));
        let logs = || {
            Ask::get(format!("/executions/{id}/logs")).key(crate::harness::KEY).send(server.address()).json()
        };
        until("it is live", || logs()["status"] == "RUNNING");
        let url = logs()["websocket_url"].as_str().unwrap().to_owned();
        let mut socket = Socket::open(&url);
        socket.until("begun");
        signal(server.pid(), "TERM");
        // Not 1000: it has not ended.
        assert_eq!(socket.ends_with().0, 1012);
        drop(socket);
        assert_eq!(server.until_gone().code(), Some(0), "{}", server.log());
        server.restart();
        std::fs::write(&go, "").unwrap();
        assert_eq!(said(&Socket::open(&url).read_to_end().0), ["begun"], "and the same address goes on");
    }),
];

/// Half a minute long.
pub(super) const PING: &[Rule] = &[scene("6.ping", |w| {
    let live = w.live("");
    let mut socket = w.follow(&live.id);
    socket.until("begun");
    let began = std::time::Instant::now();
    assert!(matches!(socket.next(), Heard::Ping), "nothing else is said");
    assert!(began.elapsed() > Duration::from_secs(5), "seldom");
    live.release();
    socket.read_to_end();
})];

/// Whether the server still has its end of a connection that comes from this port.
fn has_connection(server: &Server, port: u16) -> bool {
    let own: u16 = server.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let ends = format!("0100007F:{own:04X} 0100007F:{port:04X}");
    std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(|line| line.contains(&ends))
}
